"""Brings up a cluster of validators, drives it, breaks it on purpose, and proves that it converged."""
