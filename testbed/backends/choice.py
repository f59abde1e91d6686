"""Which backend `auto` means on this machine."""

from __future__ import annotations

from tana.types.errors import SettingsError, Unavailable

AUTO = "auto"
NO_IMAGE = "no_image"
"""Code of the error where an engine answers, but has no image for the cluster and cannot get one."""
DEFAULT_NETWORK = "tailnet"
_HOW = "choose with BACKEND=docker|processes|simulation and NETWORK=tailnet|bridge"


def choose_backend(backend: str, network: str | None) -> tuple[str, str, str]:
    """Backend, network, and what to tell the user of a choice that was made for them: docker where an engine with
    Compose v2 answers, else processes. Raises `SettingsError` for a network that the backend does not have."""
    if backend == AUTO:
        from testbed.backends.docker_engine import find_engine

        try:
            engine = find_engine()
        except Unavailable as error:
            return "processes", "", f"backend: plain processes, as {error.message}; {_HOW}"
        chosen = network or DEFAULT_NETWORK
        return "docker", chosen, f"backend: docker, network {chosen} ({engine}); {_HOW}"
    if backend != "docker" and network is not None:
        raise SettingsError(
            f"the backend {backend} has no network to choose",
            remedy="leave out NETWORK (--network), or use the backend docker",
            field="network",
        )
    return backend, (network or DEFAULT_NETWORK) if backend == "docker" else "", ""
