"""What to do while a backend is away: try again, since what was acknowledged waits in the queue."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.metrics import Meter

_log = logging.getLogger(__name__)
_RETRY_S = 1.0

T = TypeVar("T")


async def until_available(step: Callable[[], Awaitable[T]], meter: Meter, figure: str) -> T:
    """Repeat an idempotent step until its backend answers; ``meter`` counts failures as ``figure``."""
    while True:
        try:
            return await step()
        except UnavailableError as error:
            meter.count(figure)
            _log.warning("a backend does not answer; trying again", extra={"error": str(error), "after_s": _RETRY_S})
            await anyio.sleep(_RETRY_S)
