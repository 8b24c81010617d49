"""Group commit: appends that are under way at once share one write and one fdatasync, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread

from agenttrace_core.ports.queue import Headers, Position

_GROUP_BYTES = 16 << 20
_GROUP_RECORDS = 4096

Append = Callable[[Sequence[tuple[Headers, bytes]]], list[Position]]


@dataclass(frozen=True, slots=True)
class _Pending:
    headers: Headers
    body: bytes
    done: asyncio.Future[Position]


class GroupCommitter:
    """Feeds a blocking ``append`` with groups. The event loop never waits for a disk.

    While a group is synced, the next one gathers; so groups grow with the load, and a lone append
    waits for nobody. Memory is bounded by what the callers who wait hold.
    """

    def __init__(self, append: Append) -> None:
        self._append = append
        self._waiting: SimpleQueue[_Pending | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="log-committer", daemon=True)
        self._thread.start()

    async def append(self, headers: Headers, body: bytes) -> Position:
        """Return where the record is, once its group is durable.

        Raises:
            OSError: the group could not be made durable.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.put(_Pending(headers, body, done))
        return await done

    def close(self) -> None:
        """Commit what waits, and end the thread. Blocks."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group, last = self._gather(first)
            self._commit(group)
            if last:
                return

    def _gather(self, first: _Pending) -> tuple[list[_Pending], bool]:
        """Return what waits, up to the bounds of a group, and whether the end was reached."""
        group, size = [first], len(first.body)
        while size < _GROUP_BYTES and len(group) < _GROUP_RECORDS:
            try:
                pending = self._waiting.get_nowait()
            except Empty:
                break
            if pending is None:
                return group, True
            group.append(pending)
            size += len(pending.body)
        return group, False

    def _commit(self, group: list[_Pending]) -> None:
        group = [p for p in group if not p.done.cancelled()]
        if not group:
            return
        try:
            outcome: list[Position] | Exception = self._append([(p.headers, p.body) for p in group])
        except Exception as error:
            outcome = error
        try:
            group[0].done.get_loop().call_soon_threadsafe(_settle, group, outcome)
        except RuntimeError:
            pass  # the loop is gone, and with it everybody who waited


def _settle(group: Sequence[_Pending], outcome: list[Position] | Exception) -> None:
    if isinstance(outcome, Exception):
        for pending in group:
            if not pending.done.done():
                pending.done.set_exception(outcome)
        return
    for pending, position in zip(group, outcome, strict=True):
        if not pending.done.done():
            pending.done.set_result(position)
