"""Docker's SDK for Python: the client of an engine, and its complaints as errors for people."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# For the type checker, the folder `docker` of this repository hides the SDK, which has no types anyhow.
from docker.client import DockerClient  # type: ignore[import-not-found]
from docker.errors import APIError, DockerException, ImageNotFound  # type: ignore[import-not-found]
from requests import RequestException
from urllib3.exceptions import HTTPError

from testbed.backends.docker_engine import explain

__all__ = ["ENGINE_ERRORS", "APIError", "ImageNotFound", "connect", "explained"]

ENGINE_ERRORS = (DockerException, RequestException, HTTPError)
"""What calls of the SDK raise."""
TIMEOUT_S = 60
_MAX_CONNECTIONS = 64


def connect(host: str) -> Any:
    """A client of the engine at that host, as in DOCKER_HOST. The SDK alone knows nothing of Docker's contexts."""
    environment = {**os.environ, "DOCKER_HOST": host} if host else dict(os.environ)
    return DockerClient.from_env(environment=environment, timeout=TIMEOUT_S, max_pool_size=_MAX_CONNECTIONS)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turns what the engine objects to into an error for people."""
    try:
        yield
    except ENGINE_ERRORS as error:
        raise explain(what, str(getattr(error, "explanation", None) or error)) from None
