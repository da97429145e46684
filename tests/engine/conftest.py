from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from scheduler.engine.http.sender import Sender
from tests.api.conftest import serve
from tests.conftest import SetClock
from tests.engine.receivers import make_sender

__all__ = ["sender", "serve"]


@pytest.fixture
async def sender(clock: SetClock) -> AsyncIterator[Sender]:
    async with make_sender(clock) as sender:
        yield sender
