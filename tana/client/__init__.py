"""Typed HTTP clients of the mesh and of a validator, and the signed bodies they send."""
