"""Where partitions begin and end, and the deletion of what lies before."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

from aiokafka.protocol.admin import DeleteRecordsRequest
from aiokafka.protocol.offset import OffsetRequest

from agenttrace_adapters.kafka.cluster import Cluster
from agenttrace_adapters.kafka.options import KafkaOptions
from agenttrace_adapters.kafka.protocol import Code, RefusedError

T = TypeVar("T")
_log = logging.getLogger(__name__)

READ_COMMITTED = 1
_NO_REPLICA = -1
_BEGIN = -2
_END = -1
_LANE = "offsets"
_TRIM_LANE = "trim"
_TRIM_S = 5.0
_FIRST_S = 5.0


class Offsets:
    """Asks the leaders. Calls that come while one is under way share the next one."""

    def __init__(self, cluster: Cluster, options: KafkaOptions) -> None:
        self._cluster = cluster
        self._options = options
        self._may_trim = True
        self.begin = Shared(lambda: self._persist(lambda: self._ask(_BEGIN)))
        self.end = Shared(lambda: self._persist(lambda: self._ask(_END)))

    async def first_ends(self) -> Mapping[int, int]:
        """Return the ends when the queue is opened, which may take longer: connections are made for it."""
        return await self._cluster.persist(lambda: self._ask(_END), timeout_s=_FIRST_S)

    async def trim(self, partition: int, offset: int) -> None:
        """Delete what lies below ``offset``. Where we may not, that is logged once, and left at that."""
        if not self._may_trim:
            return
        try:
            await self._cluster.persist(lambda: self._delete(partition, offset), timeout_s=_TRIM_S)
        except RefusedError as error:
            if error.code not in (Code.TOPIC_AUTHORIZATION_FAILED, Code.POLICY_VIOLATION):
                raise
            self._may_trim = False
            _log.warning("nothing is deleted from the topic %s: %s", self._options.topic, error)

    async def aclose(self) -> None:
        """Wait for what was asked."""
        await self.begin.aclose()
        await self.end.aclose()

    async def _persist(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await self._cluster.persist(ask, timeout_s=self._options.timeout_ms / 1000)

    async def _ask(self, which: int) -> Mapping[int, int]:
        by_leader: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for partition in self._cluster.layout.leaders:
            by_leader[self._cluster.leader(partition)].append((partition, which))
        answers = await asyncio.gather(*(self._ask_leader(node, asked) for node, asked in by_leader.items()))
        return dict(sorted((partition, offset) for answer in answers for partition, offset in answer))

    async def _ask_leader(self, node: int, asked: list[tuple[int, int]]) -> list[tuple[int, int]]:
        topic = self._options.topic
        answer = await self._cluster.ask(node, _LANE, OffsetRequest(_NO_REPLICA, READ_COMMITTED, [(topic, asked)]))
        found: list[tuple[int, int]] = []
        for partition, code, _, offset in _partitions(answer):
            if code != Code.NONE:
                raise RefusedError(f"asking for the offsets of partition {partition} of {topic}", code)
            found.append((partition, offset))
        return found

    async def _delete(self, partition: int, offset: int) -> None:
        topic = self._options.topic
        request = DeleteRecordsRequest([(topic, [(partition, offset)])], int(_TRIM_S * 1000))
        answer = await self._cluster.ask(self._cluster.leader(partition), _TRIM_LANE, request)
        for _, _, code, *_ in _partitions(answer):
            if code not in (Code.NONE, Code.OFFSET_OUT_OF_RANGE):
                raise RefusedError(f"deleting from partition {partition} of {topic}", code)


class Shared(Generic[T]):
    """A question whose answer may be shared by all who asked before it was put."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._coming: asyncio.Task[T] | None = None
        self._asked: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Return an answer that was asked for after this call."""
        if self._coming is None:
            self._coming = asyncio.create_task(self._run())
            self._coming.add_done_callback(_retrieved)
        return await asyncio.shield(self._coming)

    async def aclose(self) -> None:
        """Wait for what is under way."""
        tasks = [t for t in (self._asked, self._coming) if t is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> T:
        if self._asked is not None:
            await asyncio.wait([self._asked])
        self._asked, self._coming = self._coming, None
        return await self._ask()


def _retrieved(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _partitions(answer: Any) -> list[tuple[Any, ...]]:
    return [partition for topic in answer.topics for partition in topic[1]]
