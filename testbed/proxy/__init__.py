"""The link proxy: a way between any two processes that the harness can make worse."""
