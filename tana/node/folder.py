"""The data folder of one validator: where everything lies, one owner at a time, and files that appear whole.

chain.db           blocks, certificates and state (SQLite)
sign-state/        what this node signed; without it the node never signs
t4/                content by hash
genesis.json       the sovereign-signed genesis, once it was verified
peers.json         last known peers and their addresses
service-keys.json  keys of other nodes' services, for their tokens
lock               held while a validator runs on this folder
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tana.durable import make_folder
from tana.types.errors import SettingsError


class DataFolder:
    """Paths inside a validator's data folder, and the lock that keeps a second validator out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.chain_path = root / "chain.db"
        self.sign_state_path = root / "sign-state"
        self.content_path = root / "t4"
        self.genesis_path = root / "genesis.json"
        self.peers_path = root / "peers.json"
        self.service_keys_path = root / "service-keys.json"
        self.lock_path = root / "lock"
        self._lock: int | None = None

    def open(self) -> None:
        """Create the folder where it is missing, and lock it.

        Raises `SettingsError` where it cannot be written or another validator holds it.
        """
        try:
            make_folder(self.root)
            lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(
                f"the data folder {self.root} cannot be written: {error.strerror}",
                remedy="give a folder that this user may write, with --data or TANA_DATA_DIR",
                field="data_dir",
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise SettingsError(
                f"another validator is running on the data folder {self.root}",
                remedy="stop it first (tana stop), or give this one a folder of its own with --data",
                field="data_dir",
            ) from None
        self._lock = lock

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
