"""What tests of open ports share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.doors import PRODUCTION_LOOP, Door, open_door


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run on the loop that the entrypoints run on: how it reads sockets is part of what is tested."""
    return PRODUCTION_LOOP


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """Open doors before a queue in memory; whatever came through them, no byte may be accounted for in the end."""
    async with open_door() as door:
        yield door
        assert door.admission.in_flight == 0, "bytes of a request are still accounted for"
