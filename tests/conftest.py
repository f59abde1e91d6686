"""Options of the whole test run."""

import hypothesis
import pytest

# They need an engine, and fail without one: `make test-docker`.
collect_ignore = ["docker"]

# How long one example takes depends on the machine, and no test asserts a duration.
hypothesis.settings.register_profile("tana", deadline=None)
hypothesis.settings.load_profile("tana")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the golden stories anew from what happens now")
