"""Sends requests, and sends them again where that may help, for a bounded time."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from agenttrace_adapters.s3.failures import Failure, may_pass, summary
from agenttrace_core.errors import UnavailableError

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 3.0
_LEAST_BYTES_PER_S = 256 << 10
"""What a connection must carry, or the request is given up: a server that takes a byte a second is as good as away."""


class Requests:
    """Sends a bounded number of requests at once.

    Args:
        endpoint: of the server, for messages.
        connections: that are open at once; others wait, without their time running.
        timeout_s: seconds without a byte after which a request is given up.
        retry_for_s: seconds after the first try in which another may begin.
    """

    def __init__(self, endpoint: str, *, connections: int, timeout_s: float, retry_for_s: float) -> None:
        self._endpoint = endpoint
        self._timeout_s, self._retry_for_s = timeout_s, retry_for_s
        self._limiter = anyio.CapacityLimiter(connections)

    async def send(self, what: str, attempt: Callable[[], Awaitable[_T]], *, size: int = 0) -> _T:
        """Return what ``attempt`` returns, calling it again while it fails in a way that may pass.

        Args:
            what: is asked for, in messages.
            attempt: sends the request. It may have had its effect although it failed.
            size: bytes that go or come, which make a request take longer.

        Raises:
            UnavailableError: it has failed for too long.
            ClientError, BotoCoreError: the server refuses it, and will again.
        """
        begun: float | None = None
        tries = 0
        while True:
            async with self._limiter:
                begun = time.monotonic() if begun is None else begun
                tries += 1
                try:
                    with anyio.fail_after(2 * self._timeout_s + size / _LEAST_BYTES_PER_S):
                        return await attempt()
                except Failure as error:
                    if not may_pass(error):
                        raise
                    failure = error
            pause = _pause_s(tries)
            if time.monotonic() + pause - begun > self._retry_for_s:
                raise UnavailableError(
                    f"storage at {self._endpoint}: {what}: failed {tries} times, last by {summary(failure)}"
                ) from failure
            _log.info("asking the storage again", extra={"what": what, "tries": tries, "error": summary(failure)})
            await anyio.sleep(pause)


def _pause_s(tries: int) -> float:
    """Return how long to wait after so many tries: anything up to a bound that doubles, so that callers spread out."""
    return random.SystemRandom().uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**tries))
