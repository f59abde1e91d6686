from __future__ import annotations

import pytest

from tests.mesh.helpers import World


@pytest.fixture
def world() -> World:
    return World()
