"""The log of a simulated validator as real files, while a fault damages it or its operator recovers it.

A simulated disk holds records, not bytes. So they are written out as a real validator writes them, damaged there, and
read back by the code that a real validator starts with.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tana.crypto.keys import KeyPair
from tana.node.folder import DataFolder
from tana.node.identity import open_log
from tana.node.log import SignLog, recover_log
from tana.node.recovery import (
    Answer,
    Slot,
    check_silence,
    check_slot,
    examine_sign_state,
    find_lowest,
    replace_sign_state,
)
from tana.node.segment import Recovery
from tana.types.errors import StorageError
from testbed.damage import Harm, damage
from testbed.simulation.disk import Disk


class SimulatedLog:
    """The log of the validator whose disk this is, in a folder of its own."""

    def __init__(self, disk: Disk, key: KeyPair, folder: Path) -> None:
        assert disk.genesis is not None, "a node that signs has a chain"
        self._disk = disk
        self._key = key
        self._data = DataFolder(folder)
        self._chain_id = disk.genesis.chain_id

    def damage(self, how: str, seed: str) -> tuple[Harm, int]:
        """See `testbed.damage`. Also the number of bytes that the validator cut off as a torn write."""
        if not self._disk.abstain_reason:
            self._write()
        harm = damage(self._data.root, how, seed)
        return harm, self._read()

    def recover(self, slot: Slot, answers: Sequence[Answer], now_ms: int) -> Recovery:
        """As `tana validator recover`. Raises `Conflict` and `Unavailable` as that does."""
        blocks = self._disk.blocks
        remains = examine_sign_state(self._data, self._key, self._chain_id, blocks)
        lowest = find_lowest(answers, remains, blocks.height)
        check_silence(answers, lowest, accept_silence=False)
        check_slot(slot, lowest, answers, remains, blocks.height)
        recovery = Recovery(*slot, now_ms, self._shorten(remains.lost))
        replace_sign_state(self._data, self._key, self._chain_id, remains, recovery)
        self._read()
        return recovery

    def _write(self) -> None:
        disk, folder = self._disk, self._data.sign_state_path
        shutil.rmtree(folder, ignore_errors=True)
        recover_log(
            folder,
            self._key.public_key,
            disk.sign_floor,
            chain_id=self._chain_id,
            recoveries=disk.recoveries,
            records=(),
        )
        log, _, _ = SignLog.open(folder, self._key.public_key)
        for record in disk.records:
            log.append(record)
            log.flush()
        log.close()

    def _read(self) -> int:
        disk = self._disk
        try:
            log, disk.records, disk.sign_floor = open_log(self._data, self._key, self._chain_id, disk.blocks)
        except StorageError as error:
            disk.wipe_sign_state(self._shorten(str(error)))
            return 0
        log.close()
        disk.recoveries, disk.abstain_reason = log.recoveries, ""
        return log.torn_bytes

    def _shorten(self, words: str) -> str:
        """Without the place of the folder, which is another in each run."""
        return words.replace(f"{self._data.root}/", "")
