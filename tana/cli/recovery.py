"""`tana validator recover`: ask the others what they have seen, then go on above it without the lost sign-state."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

from tana.cli.locating import APPROVED, ASK_TIMEOUT_MS, get_ledger_url
from tana.cli.output import print_json, print_table
from tana.client.http import HttpClient
from tana.client.keyfiles import read_node_key
from tana.client.mesh import MeshClient, MeshNode
from tana.crypto.keys import format_public_key
from tana.node.folder import DataFolder
from tana.node.joining import load_genesis, store_genesis, verify_genesis
from tana.node.recovery import (
    Answer,
    Slot,
    check_silence,
    check_slot,
    examine_sign_state,
    find_lowest,
    read_seen,
    replace_sign_state,
)
from tana.node.runtime import open_chain
from tana.node.segment import Recovery
from tana.node.settings import ValidatorSettings
from tana.types.errors import SettingsError, TanaError, Unavailable
from tana.types.genesis import SignedGenesis


def recover(
    settings: ValidatorSettings, slot: Slot | None, ask: Sequence[str], *, accept_silence: bool, as_json: bool
) -> None:
    """Recover the sign-state of a stopped validator above `slot`, and print what was done.

    `ask` are URLs of validators besides those that the mesh knows. Raises `SettingsError` where the validator runs, or
    no slot is given, `Conflict` where the slot is too low or there is nothing to recover, `Unavailable` where a
    validator gave no answer.
    """
    key = read_node_key(settings.node_id, settings.config_path)
    data = DataFolder(settings.data_path)
    with _locked(data):
        signed = _find_genesis(data, settings)
        store, ledger = open_chain(data, signed)
        with closing(store):
            remains = examine_sign_state(data, key, signed.chain_id, store)
        own = format_public_key(key.public_key)
        expected = {format_public_key(item.public_key): item.node_id for item in ledger.validators.validators}
        answers = _ask_all(settings.mesh_url, ask, expected, own, signed.chain_id.hex(), is_new=ledger.height == 0)
        if not as_json:
            _print_answers(answers)
        lowest = find_lowest(answers, remains, ledger.height)
        check_silence(answers, lowest, accept_silence)
        if slot is None:
            raise SettingsError(
                "the slot to go on above is not given",
                remedy=f"give --height {lowest[0]} --round {lowest[1]}, the highest that anyone has seen",
                code="slot_not_given",
                field="height",
            )
        check_slot(slot, lowest, answers, remains, ledger.height)
        silent = tuple(answer.node_id for answer in answers if answer.seen is None)
        recovery = Recovery(*slot, int(time.time() * 1000), remains.lost, silent)
        copy = replace_sign_state(data, key, signed.chain_id, remains, recovery)
    _print_done(
        {
            "nodeId": settings.node_id,
            "publicKey": own,
            "height": recovery.height,
            "round": recovery.round,
            "lost": recovery.lost,
            "keptRecords": len(remains.records),
            "keptLock": remains.has_lock,
            "answers": [_to_json(answer) for answer in answers if answer.seen is not None],
            "silent": list(silent),
            "copyOfTheOld": copy or None,
        },
        as_json,
    )


@contextmanager
def _locked(data: DataFolder) -> Iterator[None]:
    data.open()
    try:
        yield
    finally:
        data.close()


def _find_genesis(data: DataFolder, settings: ValidatorSettings) -> SignedGenesis:
    """The chain's genesis from the data folder, else from the mesh, verified either way."""
    signed = load_genesis(data, settings.sovereign_key)
    if signed is not None:
        return signed
    with MeshClient(settings.mesh_url) as mesh:
        signed = mesh.get_genesis()
    if signed is None:
        raise SettingsError(
            f"neither {data.genesis_path} nor the mesh at {settings.mesh_url} has a genesis: there is no chain yet",
            remedy="give the data folder of the node with --data, or the mesh of its chain with --mesh-url",
            field="data_dir",
        )
    verify_genesis(signed, settings.sovereign_key, f"the genesis of the mesh at {settings.mesh_url}")
    store_genesis(data, signed)
    return signed


# ---------------------------------------------------------------------- asking


def _ask_all(
    mesh_url: str, ask: Sequence[str], expected: dict[str, str], own: str, chain_id: str, *, is_new: bool
) -> list[Answer]:
    """The answers of every other validator, and of whoever else can be asked. Those of nobody named twice.

    Where this node's chain is gone too, the genesis alone does not say who votes: then every approved node is expected.
    """
    nodes = _list_nodes(mesh_url)
    if is_new:
        expected = {node.public_key.lower(): node.id for node in nodes} | expected
    expected = {public_key: node_id for public_key, node_id in expected.items() if public_key != own}
    answers: dict[str, Answer] = {}
    for public_key, node_id, url in _list_urls(nodes, ask):
        if public_key == own:
            continue
        answer = _ask_one(node_id, url, public_key, chain_id)
        known = answers.get(answer.node_id)
        if known is None or known.seen is None:
            answers[answer.node_id] = answer
    for node_id in expected.values():
        answers.setdefault(node_id, Answer(node_id, "", fault="nobody says where it is: name it with --ask"))
    wanted = set(expected.values())
    return sorted(
        (answer for answer in answers.values() if answer.seen is not None or answer.node_id in wanted),
        key=lambda answer: answer.node_id,
    )


def _list_nodes(mesh_url: str) -> list[MeshNode]:
    try:
        with MeshClient(mesh_url, timeout_ms=ASK_TIMEOUT_MS) as mesh:
            return [node for node in mesh.list_all_nodes() if node.status in APPROVED]
    except Unavailable:
        return []


def _list_urls(nodes: Sequence[MeshNode], ask: Sequence[str]) -> Iterator[tuple[str | None, str, str]]:
    """Public key (None: whoever answers), name and URL of everybody to ask."""
    for node in nodes:
        url = get_ledger_url(node)
        if url is not None:
            yield node.public_key.lower(), node.id, url
    yield from ((None, url, url) for url in ask)


def _ask_one(node_id: str, url: str, public_key: str | None, chain_id: str) -> Answer:
    fail = partial(Answer, node_id, url, None)
    try:
        with HttpClient(url, service="validator", timeout_ms=ASK_TIMEOUT_MS) as client:
            health = client.get("/health")
    except TanaError as error:
        return fail(error.message)
    if not isinstance(health, dict) or "consensus" not in health:
        return fail("it has no chain yet")
    if health.get("chainId") != chain_id:
        return fail("it is on another chain")
    if public_key is not None and health.get("publicKey") != public_key:
        return fail("another node answers there")
    seen = read_seen(health)
    if seen is None:
        return fail("it does not say what it has seen: run the same version of Tana there")
    return Answer(str(health.get("validatorId", node_id)), url, seen)


# ---------------------------------------------------------------------- words


def _print_answers(answers: Sequence[Answer]) -> None:
    if answers:
        rows = [(answer.node_id, *(answer.seen or ("-", "-")), answer.url, answer.fault or "-") for answer in answers]
        print_table(("VALIDATOR", "SEEN HEIGHT", "SEEN ROUND", "ASKED AT", "FAULT"), rows)
        print()


def _to_json(answer: Answer) -> dict[str, Any]:
    assert answer.seen is not None, "it answered"
    return {"nodeId": answer.node_id, "height": answer.seen[0], "round": answer.seen[1]}


def _print_done(done: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    print(
        f"{done['nodeId']} has a new sign-state, and signs nothing up to height {done['height']} round {done['round']}"
    )
    print(f"it was made because {done['lost']}")
    if done["keptRecords"]:
        lock = ", with its lock" if done["keptLock"] else ""
        print(f"kept: {done['keptRecords']} records of the height being decided{lock}")
    if done["silent"]:
        print(f"warning: {', '.join(done['silent'])} gave no answer; you vouched for them")
    if done["copyOfTheOld"]:
        print(f"a copy of what was left is in {done['copyOfTheOld']}")
    print(f"next: tana validator run --node-id {done['nodeId']} with its usual flags")
