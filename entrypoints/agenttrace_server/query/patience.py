"""How long, and for how many at once, the API works on questions.

A question whose asker has left is given up, so is one that takes too long; and only so many are
worked on at a time, so that a burst of them is refused and not suffered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request

from agenttrace_core.errors import CorruptionError, GoneError, LimitExceededError, OverloadedError
from agenttrace_core.services.sound_files import SoundFiles, strictly
from agenttrace_server.ingestion.bodies import ClientGoneError

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What questions may take.

    Attributes:
        timeout_s: seconds after which one is given up.
        concurrent: how many are worked on at once.
        waiting: how many may wait for their turn: a burst of small ones is served long before ``wait_s``.
        wait_s: seconds for which they may wait.
        max_rows: the most rows of an answer that does not come in pages.
        streams: how many live streams and exports may be open at once.
    """

    timeout_s: float = 30.0
    concurrent: int = 8
    waiting: int = 512
    wait_s: float = 5.0
    max_rows: int = 100_000
    streams: int = 256


class Patience:
    """Lets questions in, and gives up on them.

    Args:
        limits: the bounds.
        sound: finds out which files are damaged: what cannot be answered of all is answered of the others.
    """

    def __init__(self, limits: QueryLimits, sound: SoundFiles | None = None) -> None:
        self.limits = limits
        self._sound = sound
        self._turns = asyncio.Semaphore(limits.concurrent)
        self._waiting = 0
        self._streams = 0

    async def answer(self, request: Request, question: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Return what ``question`` answers, working on it for as long as somebody waits for that.

        Raises:
            OverloadedError: too many others are being worked on.
            LimitExceededError: it took too long.
            ClientGoneError: nobody waits any more.
        """
        working = asyncio.ensure_future(self._in_turn(question))
        gone = asyncio.ensure_future(_until_gone(request))
        try:
            done, _ = await asyncio.wait({working, gone}, timeout=self.limits.timeout_s, return_when="FIRST_COMPLETED")
            if working in done:
                return working.result()
        finally:
            working.cancel()
            gone.cancel()
            # An engine is interrupted by the cancellation, and has to have stopped before others get its turn.
            await asyncio.gather(working, gone, return_exceptions=True)
        if gone in done:
            raise ClientGoneError("nobody waits for the answer any more")
        raise LimitExceededError(
            f"the answer took longer than {self.limits.timeout_s:g} s (query.timeout): "
            "ask of a shorter time, or with more filters"
        )

    @contextmanager
    def stream(self) -> Generator[None]:
        """Count a stream as open.

        Raises:
            OverloadedError: there are too many.
        """
        if self._streams >= self.limits.streams:
            raise OverloadedError(f"{self.limits.streams} streams are open already (query.streams)", retry_after_s=3)
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def _in_turn(self, question: Callable[[], Awaitable[_Answer]]) -> _Answer:
        if self._turns.locked() and self._waiting >= self.limits.waiting:
            raise self._too_many()
        self._waiting += 1
        try:
            async with asyncio.timeout(self.limits.wait_s):
                await self._turns.acquire()
        except TimeoutError:
            raise self._too_many() from None
        finally:
            self._waiting -= 1
        try:
            return await self._of_what_is_sound(question)
        finally:
            self._turns.release()

    async def _of_what_is_sound(self, question: Callable[[], Awaitable[_Answer]]) -> _Answer:
        try:
            return await question()
        except (CorruptionError, GoneError) as error:
            if self._sound is None:
                raise
            await self._sound.examine(error)
        with strictly():
            return await self._sound.read(question)

    def _too_many(self) -> OverloadedError:
        limits = self.limits
        return OverloadedError(f"{limits.concurrent} questions are being answered, and more wait (query.concurrent)")


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
