"""A network that has learned the made-up talkers, trained once for all tests that need one."""

from __future__ import annotations

import pytest

from s3dnerf.sync.expert import SyncExpert
from tests.sync.learned import learned


@pytest.fixture(scope="session")
def trained() -> SyncExpert:
    return learned()
