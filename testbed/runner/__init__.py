"""The stages of a run, one file each: setup, start, load, perturb, settle, check, report, cleanup."""
