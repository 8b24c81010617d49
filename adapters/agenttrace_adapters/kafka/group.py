"""Tells Kafka up to where the topic is written, as the committed offsets of a consumer group without members.

Nothing here depends on them: they are for Kafka's own tools, which show the lag of groups, and for ``agenttrace
doctor``. What counts are the watermarks of the catalog.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest

from agenttrace_adapters.kafka.cluster import Cluster
from agenttrace_adapters.kafka.options import KafkaOptions
from agenttrace_adapters.kafka.protocol import Code, NoContactError, RefusedError
from agenttrace_core.errors import UnavailableError

_log = logging.getLogger(__name__)

_LANE = "group"
_GROUP_TYPE = 0
_NO_MEMBER = ""
_ANSWER_S = 1.0
_AGAIN_S = 10.0
_PATIENCE_S = 10.0


class Group:
    """The offsets of the group that ``?group=`` names."""

    def __init__(self, cluster: Cluster, options: KafkaOptions) -> None:
        self._cluster = cluster
        self._options = options
        self._coordinator: int | None = None
        self._failed_at = -_AGAIN_S

    async def commit(self, partition: int, offset: int) -> None:
        """Say that everything below ``offset`` is written. If that fails, it is left at that for ten seconds."""
        if time.monotonic() - self._failed_at < _AGAIN_S:
            return
        request = OffsetCommitRequest(
            self._options.group,
            OffsetCommitRequest.DEFAULT_GENERATION_ID,
            _NO_MEMBER,
            OffsetCommitRequest.DEFAULT_RETENTION_TIME,
            [(self._options.topic, [(partition, offset, "")])],
        )
        try:
            async with asyncio.timeout(_ANSWER_S):
                answer = await self._cluster.ask(await self._find(), _LANE, request)
            (_, [(_, code)]) = answer.topics[0]
            if code != Code.NONE:
                raise RefusedError(f"committing an offset to the group {self._options.group}", code)
        except (TimeoutError, UnavailableError) as error:
            self._coordinator, self._failed_at = None, time.monotonic()
            _log.info("Kafka was not told how far the topic is written: %s", error)

    async def committed(self) -> Mapping[int, int]:
        """Return what was committed, by partition. Empty if nothing ever was, or what was is forgotten.

        The first group of all has brokers make a topic for offsets, and wait until it is there.

        Raises:
            UnavailableError: the brokers do not say.
        """
        return await self._cluster.persist(self._ask_committed, timeout_s=_PATIENCE_S)

    async def _ask_committed(self) -> Mapping[int, int]:
        request = OffsetFetchRequest(self._options.group, [(self._options.topic, list(self._cluster.layout.leaders))])
        try:
            async with asyncio.timeout(_ANSWER_S):
                answer = await self._cluster.ask(await self._find(), _LANE, request)
        except TimeoutError as error:
            self._coordinator = None
            raise NoContactError(f"the coordinator of the group {self._options.group} does not answer") from error
        if answer.error_code != Code.NONE:
            self._coordinator = None
            raise RefusedError(f"asking for the offsets of the group {self._options.group}", answer.error_code)
        return {partition: offset for partition, offset, _, code in answer.topics[0][1] if offset >= 0 and not code}

    async def _find(self) -> int:
        coordinator = self._coordinator
        if coordinator is None:
            node = next(iter(self._cluster.layout.brokers))
            answer = await self._cluster.ask(node, _LANE, FindCoordinatorRequest(self._options.group, _GROUP_TYPE))
            if answer.error_code != Code.NONE:
                raise RefusedError(f"looking for the coordinator of the group {self._options.group}", answer.error_code)
            coordinator = self._coordinator = int(answer.coordinator_id)
        return coordinator
