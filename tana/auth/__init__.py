"""Service auth: signed tokens between services, and the keys that they are checked with."""
