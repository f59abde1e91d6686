"""Where validators answer, as the mesh knows them."""

from __future__ import annotations

from tana.client.http import HttpClient
from tana.client.mesh import MeshClient, MeshNode
from tana.types.errors import TanaError, Unavailable

APPROVED = ("active", "offline")
ASK_TIMEOUT_MS = 3_000
_LEDGER_SERVICE = "ledger"


def get_ledger_url(node: MeshNode) -> str | None:
    """The URL of a node's ledger, None where it registered none."""
    service = node.get_service(_LEDGER_SERVICE)
    if service is None:
        return None
    host = node.tailscale_ip or node.tailscale_hostname
    return f"http://{f'[{host}]' if ':' in host else host}:{service.port}"


def find_ledger_url(mesh: MeshClient, chain_id: str) -> str:
    """The ledger of an approved node that is on this chain and answers. Raises `Unavailable` where there is none."""
    asked = 0
    for node in mesh.list_all_nodes():
        url = get_ledger_url(node) if node.status in APPROVED else None
        if url is not None:
            asked += 1
            if _is_on_chain(url, chain_id):
                return url
    raise Unavailable(
        f"none of the {asked} approved nodes answers on chain {chain_id[:16]}…",
        remedy="run this again once a validator runs, or say where one answers with --ledger-url",
        code="no_validator",
    )


def _is_on_chain(url: str, chain_id: str) -> bool:
    try:
        with HttpClient(url, service="validator", timeout_ms=ASK_TIMEOUT_MS) as client:
            health = client.get("/health")
    except TanaError:
        return False
    return isinstance(health, dict) and health.get("chainId") == chain_id and health.get("state") != "stopped"
