"""`tana found-chain`: the sovereign's part of beginning a chain, as far as it is not done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import typer
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tana.cli.accounts import read_signing_key
from tana.cli.genesis import build_genesis, list_approved
from tana.cli.locating import APPROVED
from tana.cli.options import DEFAULT_MESH_URL, MeshUrl, SovereignKeyFile, make_command, show_example
from tana.client import keyfiles
from tana.client.mesh import MeshClient
from tana.client.registration import build_signed_genesis
from tana.crypto.keys import KeyPair
from tana.types.errors import NotFound, Unavailable

POLL_S = 0.1
SAY_AFTER_S = 5.0
DEFAULT_WAIT_S = 120

app = make_command()


@app.command(epilog=show_example("tana found-chain validator-1 validator-2 validator-3"))
def found(
    nodes: Annotated[list[str], typer.Argument(metavar="NODE...", help="The nodes to wait for and to approve.")],
    mesh_url: MeshUrl = DEFAULT_MESH_URL,
    sovereign_key: SovereignKeyFile = None,
    wait_s: Annotated[float, typer.Option(min=0, help="How long to wait for the mesh and for each node.")] = (
        DEFAULT_WAIT_S
    ),
) -> None:
    """Wait for nodes to register, approve those that are not, and write the genesis where there is none.

    May be repeated: what is done is left alone. Somebody else's chain needs no sovereign's key here, and nothing is
    done to it.
    """
    path = keyfiles.get_sovereign_key_path()
    if sovereign_key is None and not path.exists():
        print(f"there is no {path}: somebody else approves the nodes and writes the genesis")
        return
    sovereign = read_signing_key(sovereign_key if sovereign_key is not None else str(path))
    with MeshClient(mesh_url) as mesh:
        wait_for(mesh.get_health, f"the mesh at {mesh_url}", wait_s)
        for node_id in nodes:
            wait_for(partial(mesh.get_node, node_id), f"{node_id} to register", wait_s)
        found_chain(mesh, nodes, sovereign, lambda name, words: print(f"{name} {words}", flush=True))


def found_chain(mesh: MeshClient, nodes: Sequence[str], sovereign: KeyPair, say: Callable[[str, str], None]) -> None:
    """Approve registered nodes that are not approved, and write a genesis with every approved node if there is none."""
    for node_id in nodes:
        if mesh.get_node(node_id).status not in APPROVED:
            mesh.approve(node_id, sovereign)
            say(node_id, "approved")
    if mesh.get_genesis() is None:
        signed = build_signed_genesis(sovereign, build_genesis(list_approved(mesh), sovereign.public_text))
        mesh.put_genesis(signed)
        say("genesis", f"written; chain {signed.chain_id.hex()[:16]}…")


def wait_for(look: Callable[[], object], what: str, wait_s: float) -> None:
    """Call until it neither misses what it looks for nor finds nobody to ask. Raises `Unavailable` after `wait_s`."""
    has_spoken = False

    def speak(state: RetryCallState) -> None:
        nonlocal has_spoken
        if not has_spoken and (state.seconds_since_start or 0) > SAY_AFTER_S:
            has_spoken = True
            print(f"still waiting for {what}", flush=True)

    retrying = Retrying(
        wait=wait_fixed(POLL_S),
        stop=stop_after_delay(wait_s),
        retry=retry_if_exception_type((NotFound, Unavailable)),
        before_sleep=speak,
    )
    try:
        retrying(look)
    except RetryError:
        raise Unavailable(
            f"waited {wait_s:g} s in vain for {what}", remedy="see what its log says, then run this again"
        ) from None
