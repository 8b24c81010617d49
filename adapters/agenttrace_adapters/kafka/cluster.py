"""The brokers as they are now: who leads which partition, whether they answer, and whether the topic is the same."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID

from aiokafka.protocol.api import Request

from agenttrace_adapters.kafka.connections import ADMIN, Connections
from agenttrace_adapters.kafka.options import Address, KafkaOptions
from agenttrace_adapters.kafka.protocol import Code, MetadataRequest, NoContactError, RefusedError, StartingError
from agenttrace_core.errors import AgentTraceError, ConfigurationError, UnavailableError

T = TypeVar("T")
_log = logging.getLogger(__name__)

_METADATA = "metadata"
_EVERY_S = 30.0
_AGAIN_S = 0.2
_ANSWER_S = 2.0
_HEDGE_S = 0.3
_BACKOFF_S = 0.05
_START_S = 10.0


@dataclass(frozen=True, slots=True)
class Layout:
    """What the brokers say of themselves and of the topic. ``leaders`` has -1 where a partition has none."""

    brokers: Mapping[int, Address]
    controller: int
    topic_id: UUID
    topic_error: int
    leaders: Mapping[int, int]


class Cluster:
    """Knows the brokers from ``open`` on, and learns of changes by itself.

    While no broker answers, every call fails at once with ``UnavailableError``; a task looks for them
    meanwhile, five times a second.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._connections = Connections(options)
        self._layout: Layout | None = None
        self._topic_id: UUID | None = None
        self._opened = False
        self._away: str | None = None
        self._condemned: str | None = None
        self._stale = asyncio.Event()
        self._looked = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def layout(self) -> Layout:
        """The newest.

        Raises:
            UnavailableError: no broker answers, or the topic is not the one that was opened.
        """
        if not self._opened or self._layout is None:
            raise UnavailableError(f"the queue on the topic {self._options.topic} is not open")
        if trouble := self._condemned or self._away:
            raise UnavailableError(trouble)
        return self._layout

    async def open(self) -> Layout:
        """Find the brokers, and begin to watch them.

        Raises:
            UnavailableError: none answers.
            ConfigurationError: they do not let us in, or are too old.
        """
        self._connections.open()
        self._layout = await self._ask_patiently()
        self._opened = True
        self._keeper = asyncio.create_task(self._keep())
        return self._layout

    async def aclose(self) -> None:
        """Let go of the brokers."""
        self._opened = False
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
        await self._connections.aclose()

    def hold_to(self, topic_id: UUID) -> None:
        """Take no other topic of the same name for this one from now on."""
        self._topic_id = topic_id

    def condemn(self, why: str) -> None:
        """Let every call fail from now on: what was acknowledged is not there any more."""
        if self._condemned is None:
            _log.error("the topic is not what it was: %s", why)
            self._condemned = f"{why}. If that was meant, start again"

    def stale(self) -> None:
        """Have the layout looked at again, soon."""
        self._stale.set()

    async def looked(self) -> None:
        """Wait until the layout was looked at again."""
        self.stale()
        await self._looked.wait()

    async def ask(self, node: int, lane: str, request: Request[Any]) -> Any:
        """Send a request to a broker.

        Raises:
            NoContactError: it did not answer.
            UnavailableError: no broker does.
        """
        address = self.layout.brokers.get(node)
        if address is None:
            self.stale()
            raise NoContactError(f"broker {node} is not among those that answer")
        try:
            return await self._connections.ask(address, lane, request)
        except NoContactError as error:
            self.stale()
            if address in self._options.servers:
                raise
            named = f"broker {node} itself names that address: see its advertised.listeners"
            raise NoContactError(f"{error} ({named})") from error
        except ConfigurationError as error:  # it let us in at the start
            raise UnavailableError(str(error)) from error

    async def ask_controller(self, request: Request[Any]) -> Any:
        """Send a request of administration to the broker that is there for it."""
        return await self.ask(self.layout.controller, ADMIN, request)

    def leader(self, partition: int) -> int:
        """Return the broker that leads a partition.

        Raises:
            RefusedError: it has none now.
        """
        node = self.layout.leaders.get(partition, -1)
        if node < 0:
            self.stale()
            raise RefusedError(f"partition {partition} of {self._options.topic}", Code.NOT_LEADER, "has no leader")
        return node

    def drop(self, partition: int, lane: str) -> None:
        """Close the connection of a lane to a partition's leader."""
        layout = self._layout
        address = layout.brokers.get(layout.leaders.get(partition, -1)) if layout else None
        if address is not None:
            self._connections.drop(address, lane)

    async def persist(self, attempt: Callable[[], Awaitable[T]], *, timeout_s: float) -> T:
        """Try again what failed for want of a leader or of contact, after a new look at the layout.

        Raises:
            UnavailableError: it did not succeed in time, or the brokers refuse it for good.
        """
        last: UnavailableError | None = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        return await attempt()
                    except NoContactError as error:
                        last = error
                    except RefusedError as error:
                        if not error.passes:
                            raise
                        last = error
                    await self.looked()
                    await asyncio.sleep(_BACKOFF_S)
        except TimeoutError as error:
            raise last or NoContactError(f"the brokers did not answer within {timeout_s:g} s") from error

    async def _keep(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._stale.wait()
            self._stale.clear()
            looked, self._looked = self._looked, asyncio.Event()
            try:
                self._settle(await self._ask_any())
            except AgentTraceError as error:
                self._lost(error)
            looked.set()
            await asyncio.sleep(_BACKOFF_S if self._away is None else _AGAIN_S)

    def _settle(self, layout: Layout) -> None:
        if self._topic_id is not None and layout.topic_id not in (self._topic_id, UUID(int=0)):
            self.condemn(f"the topic {self._options.topic} was deleted and made anew while it was in use")
        if self._away is not None:
            _log.info("the brokers answer again")
        known = self._layout
        if known is not None and len(layout.leaders) < len(known.leaders):
            # The answer of a broker that has only just started. No partition is ever taken away from a topic.
            layout = replace(layout, topic_id=known.topic_id, leaders=known.leaders)
            self.stale()
        self._layout, self._away = layout, None
        self._connections.keep_only({*layout.brokers.values(), *self._options.servers})

    def _lost(self, error: AgentTraceError) -> None:
        if self._away is None:
            _log.warning("no broker answers: %s", error)
            self._away = str(error)
        self._stale.set()

    async def _ask_patiently(self) -> Layout:
        """Ask again while brokers are there, but have only just started."""
        give_up = time.monotonic() + _START_S
        while True:
            try:
                return await self._ask_any()
            except StartingError:
                if time.monotonic() > give_up:
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def _ask_any(self) -> Layout:
        """Ask one broker after the other, without waiting long for the one before, and take the first answer."""
        known = list(self._layout.brokers.values()) if self._layout else []
        random.SystemRandom().shuffle(known)
        candidates = [*known, *(a for a in self._options.servers if a not in known)]
        asking = [asyncio.create_task(self._ask_one(a, i * _HEDGE_S)) for i, a in enumerate(candidates)]
        errors: list[AgentTraceError] = []
        try:
            for answer in asyncio.as_completed(asking):
                try:
                    return await answer
                except AgentTraceError as error:
                    errors.append(error)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        raise _worst(errors)

    async def _ask_one(self, address: Address, after_s: float) -> Layout:
        await asyncio.sleep(after_s)
        try:
            async with asyncio.timeout(_ANSWER_S):
                answer = await self._connections.ask(address, _METADATA, MetadataRequest(self._options.topic))
        except TimeoutError as error:
            raise NoContactError(f"the broker at {address} did not answer within {_ANSWER_S:g} s") from error
        layout = _layout_of(answer)
        if not layout.brokers:
            raise StartingError(f"the broker at {address} knows of no brokers yet")
        return layout


def _layout_of(answer: Any) -> Layout:
    brokers = {node: Address(host, port) for node, host, port, _, _ in answer.brokers}
    for error_code, _, topic_id, _, partitions, _, _ in answer.topics:
        leaders = {partition: leader for _, partition, leader, *_ in partitions}
        return Layout(brokers, answer.controller_id, topic_id, error_code, leaders)
    return Layout(brokers, answer.controller_id, UUID(int=0), Code.UNKNOWN_TOPIC, {})


def _worst(errors: Sequence[AgentTraceError]) -> AgentTraceError:
    """Return what an operator should know first: being refused says more than silence."""
    for kind in (ConfigurationError, StartingError):
        if found := [e for e in errors if isinstance(e, kind)]:
            return found[0]
    return UnavailableError("; ".join(dict.fromkeys(str(e) for e in errors)))
