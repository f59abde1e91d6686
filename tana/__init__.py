"""Tana: a network of validators that anyone may run and only a sovereign may admit."""

__version__ = "0.1.0"
