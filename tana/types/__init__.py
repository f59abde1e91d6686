"""Frozen values that cross the network or the disk, their canonical encodings, and the tree of errors."""
