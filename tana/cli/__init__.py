"""The `tana` command line: parse, call, print. One file per group of commands; `main.py` finds them by name."""
