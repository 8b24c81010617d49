"""Lying limiters, caches and event buses are caught: each breaks one promise, and the contract must fail on it."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agenttrace_adapters.memory import MemoryCache, MemoryEvents, MemoryLimiter
from agenttrace_contracts import events
from agenttrace_contracts.base import Contract, opened
from agenttrace_contracts.cache import CacheContract
from agenttrace_contracts.events import EventsContract
from agenttrace_contracts.limiter import LimiterContract
from agenttrace_core.ports.events import Subscription, check_event, check_topic
from agenttrace_core.ports.sharing import SharingCapabilities

_SHARED = SharingCapabilities(shared=True)


# --- Limiters ---------------------------------------------------------------------------------------


class HonestLimiter(MemoryLimiter):
    """Keeps every promise, in memory that its instances share. The liars differ in one thing each."""

    def __init__(self, store: MemoryLimiter | None = None) -> None:
        super().__init__()
        self._store = store or MemoryLimiter()

    @property
    def capabilities(self) -> SharingCapabilities:
        return _SHARED

    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        return await self._store.take(name, amount, per_second=per_second, burst=burst)


class TakesWhatItRefuses(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        wait_s = await super().take(name, amount, per_second=per_second, burst=burst)
        if wait_s:
            self._store._buckets[name].tokens -= amount
        return wait_s


class ForgetsDebt(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        wait_s = await super().take(name, amount, per_second=per_second, burst=burst)
        self._store._buckets[name].tokens = max(0, self._store._buckets[name].tokens)
        return wait_s


class RefusesTheLarge(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        return 60.0 if amount > burst else await super().take(name, amount, per_second=per_second, burst=burst)


class GrantsTheLargeAlways(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        wait_s = await super().take(name, amount, per_second=per_second, burst=burst)
        return 0.0 if amount > burst and self._store._buckets[name].tokens > 0 else wait_s


class RoundsWaitsDown(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        wait_s = await super().take(name, amount, per_second=per_second, burst=burst)
        return wait_s / 2 if wait_s < 1 else wait_s


class SaysOneSecond(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        return min(1.0, await super().take(name, amount, per_second=per_second, burst=burst))


class FlowsOver(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        return await super().take(name, amount, per_second=per_second, burst=burst * 3 if per_second == 20 else burst)


class HasOneBucket(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        return await super().take("all", amount, per_second=per_second, burst=burst)


class FoldsNames(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        return await super().take(name.strip().lower(), amount, per_second=per_second, burst=burst)


class KeepsTheFirstBurst(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        bursts = self.__dict__.setdefault("bursts", {})
        return await super().take(name, amount, per_second=per_second, burst=bursts.setdefault(name, burst))


class CountsIn32Bits(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        most = (1 << 31) - 1
        return await super().take(name, min(amount, most), per_second=per_second, burst=min(burst, most))


class RacesItself(HonestLimiter):
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        if await self._store.take(name, 0, per_second=per_second, burst=burst):
            return 1.0
        before = self._store._buckets[name].tokens
        await anyio.lowlevel.checkpoint()
        self._store._buckets[name].tokens = before
        return await super().take(name, amount, per_second=per_second, burst=burst)


class LimitsAlone(HonestLimiter):
    def __init__(self, store: MemoryLimiter | None = None) -> None:
        super().__init__()


# --- Caches -----------------------------------------------------------------------------------------


class HonestCache(MemoryCache):
    """Keeps every promise, in memory that its instances share."""

    def __init__(self, store: MemoryCache | None = None) -> None:
        super().__init__()
        self._store = store or MemoryCache()

    @property
    def capabilities(self) -> SharingCapabilities:
        return _SHARED

    async def get(self, keys: Iterable[str]) -> Mapping[str, bytes]:
        return await self._store.get(keys)

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        await self._store.put(key, value, ttl_s=ttl_s)


class KeepsNothing(HonestCache):
    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        pass


class FindsEmptyBytes(HonestCache):
    async def get(self, keys: Iterable[str]) -> Mapping[str, bytes]:
        asked = list(keys)
        return {**dict.fromkeys(asked, b""), **await super().get(asked)}


class LosesEmptyBytes(HonestCache):
    async def get(self, keys: Iterable[str]) -> Mapping[str, bytes]:
        return {key: value for key, value in (await super().get(keys)).items() if value}


class CutsKeys(HonestCache):
    async def get(self, keys: Iterable[str]) -> Mapping[str, bytes]:
        asked = list(keys)
        found = await super().get(key[:250] for key in asked)
        return {key: found[key[:250]] for key in asked if key[:250] in found}

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        await super().put(key[:250], value, ttl_s=ttl_s)


class KeepsTheFirst(HonestCache):
    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        if not await self.get([key]):
            await super().put(key, value, ttl_s=ttl_s)


class NeverForgets(HonestCache):
    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        await super().put(key, value, ttl_s=1e9)


class KeepsTheFirstTime(HonestCache):
    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        times = self.__dict__.setdefault("times", {})
        await super().put(key, value, ttl_s=times.setdefault(key, ttl_s))


class KeepsTheOldWhereTheNewIsTooLong(HonestCache):
    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        if len(value) <= 1 << 20:
            await super().put(key, value, ttl_s=ttl_s)


class PutsInPieces(HonestCache):
    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        half = len(value) // 2
        before = (await self.get([key])).get(key, b"")
        await super().put(key, value[:half] + before[half:], ttl_s=ttl_s)
        await anyio.lowlevel.checkpoint()
        await super().put(key, value, ttl_s=ttl_s)


class CachesAlone(HonestCache):
    def __init__(self, store: MemoryCache | None = None) -> None:
        super().__init__()


# --- Event buses ------------------------------------------------------------------------------------


class HonestEvents(MemoryEvents):
    """Keeps every promise, among its instances."""

    def __init__(self, store: MemoryEvents | None = None) -> None:
        super().__init__()
        self._store = store or MemoryEvents()

    @property
    def capabilities(self) -> SharingCapabilities:
        return _SHARED

    async def publish(self, topic: str, event: str) -> None:
        await self._store.publish(topic, event)

    def subscribe(self, topic: str) -> AbstractAsyncContextManager[Subscription]:
        return self._store.subscribe(topic)


class _Altered(Subscription):
    """Passes on what another subscription heard, changed by ``alter``."""

    def __init__(self, heard: Subscription, alter: Callable[[Sequence[str]], Sequence[str]]) -> None:
        self._heard, self._alter = heard, alter

    async def wait(self, timeout_s: float) -> Sequence[str]:
        return self._alter(await self._heard.wait(timeout_s))


class AltersWhatIsHeard(HonestEvents):
    @staticmethod
    def alter(events: Sequence[str]) -> Sequence[str]:
        return events

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Subscription]:
        async with super().subscribe(topic) as heard:
            yield _Altered(heard, self.alter)


class TurnsRound(AltersWhatIsHeard):
    @staticmethod
    def alter(events: Sequence[str]) -> Sequence[str]:
        return events[::-1]


class SaysTwice(AltersWhatIsHeard):
    @staticmethod
    def alter(events: Sequence[str]) -> Sequence[str]:
        return [event for event in events for _ in "12"]


class KeepsTheLast(AltersWhatIsHeard):
    @staticmethod
    def alter(events: Sequence[str]) -> Sequence[str]:
        return events[-1:]


class Escapes(AltersWhatIsHeard):
    @staticmethod
    def alter(events: Sequence[str]) -> Sequence[str]:
        return [event.replace("'", "''") for event in events]


class HidesWhatWasMissed(AltersWhatIsHeard):
    @staticmethod
    def alter(events: Sequence[str]) -> Sequence[str]:
        return [event for event in events if event]


class RepeatsHistory(HonestEvents):
    async def publish(self, topic: str, event: str) -> None:
        self._store.__dict__.setdefault("said", []).append((topic, event))
        await super().publish(topic, event)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Subscription]:
        async with super().subscribe(topic) as heard:
            for before, event in list(self._store.__dict__.get("said", [])):
                if before == topic:
                    await super().publish(topic, event)
            yield heard


class HearsTooLate(HonestEvents):
    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Subscription]:
        async with super().subscribe(check_topic(topic)) as heard:
            early = True

            def alter(events: Sequence[str]) -> Sequence[str]:
                nonlocal early
                kept, early = ([] if early else events), False
                return kept

            yield _Altered(heard, alter)


class _Sleeper(Subscription):
    def __init__(self, heard: Subscription) -> None:
        self._heard = heard

    async def wait(self, timeout_s: float) -> Sequence[str]:
        await anyio.sleep(timeout_s)
        return await self._heard.wait(0)


class SleepsItsTime(HonestEvents):
    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Subscription]:
        async with super().subscribe(topic) as heard:
            yield _Sleeper(heard)


class _Endless(Subscription):
    def __init__(self, heard: Subscription) -> None:
        self._heard = heard

    async def wait(self, timeout_s: float) -> Sequence[str]:
        return await self._heard.wait(timeout_s + 6)


class WaitsTooLong(HonestEvents):
    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Subscription]:
        async with super().subscribe(topic) as heard:
            yield _Endless(heard)


class HandsToOne(HonestEvents):
    async def publish(self, topic: str, event: str) -> None:
        check_event(event)
        for subscription in list(self._store._subscribed[check_topic(topic)])[:1]:
            subscription.add(event)


class MixesTopics(HonestEvents):
    async def publish(self, topic: str, event: str) -> None:
        await super().publish(check_topic(topic)[:1], event)


class EndsForAll(HonestEvents):
    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Subscription]:
        async with super().subscribe(topic) as heard:
            yield heard
        self._store._subscribed[topic].clear()


class TellsNobodyElse(HonestEvents):
    def __init__(self, store: MemoryEvents | None = None) -> None:
        super().__init__()


class WakesTheNeighbours(HonestEvents):
    everybody = MemoryEvents()

    def __init__(self, store: MemoryEvents | None = None) -> None:
        super().__init__(self.everybody)


_LIARS: dict[type[Any], str] = {
    TakesWhatItRefuses: "test_a_refused_amount_is_not_taken",
    ForgetsDebt: "test_an_amount_above_the_burst_is_granted_and_owed",
    RefusesTheLarge: "test_an_amount_above_the_burst_is_granted_and_owed",
    GrantsTheLargeAlways: "test_an_amount_above_the_burst_waits_for_a_full_bucket",
    RoundsWaitsDown: "test_who_waited_as_told_is_served",
    SaysOneSecond: "test_it_says_how_long_to_wait",
    FlowsOver: "test_a_bucket_does_not_flow_over",
    HasOneBucket: "test_buckets_are_apart",
    FoldsNames: "test_buckets_are_apart",
    KeepsTheFirstBurst: "test_a_lower_burst_holds_at_once",
    CountsIn32Bits: "test_large_amounts_are_exact",
    RacesItself: "test_takers_at_once_share_what_there_is",
    LimitsAlone: "test_instances_share_what_is_declared_shared",
    KeepsNothing: "test_what_was_put_is_found",
    FindsEmptyBytes: "test_what_was_not_put_is_not_found",
    LosesEmptyBytes: "test_what_was_put_is_found",
    CutsKeys: "test_any_text_is_a_key",
    KeepsTheFirst: "test_a_later_value_takes_the_place",
    NeverForgets: "test_a_value_ends_with_its_time",
    KeepsTheFirstTime: "test_a_later_value_has_a_time_of_its_own",
    KeepsTheOldWhereTheNewIsTooLong: "test_too_long_a_value_is_not_kept",
    PutsInPieces: "test_a_value_is_found_whole_or_not_at_all",
    CachesAlone: "test_instances_share_what_is_declared_shared",
    TurnsRound: "test_events_come_in_order_and_once",
    SaysTwice: "test_events_come_in_order_and_once",
    KeepsTheLast: "test_what_came_meanwhile_is_not_lost",
    Escapes: "test_any_text_is_an_event",
    HidesWhatWasMissed: "test_what_was_missed_is_told",
    RepeatsHistory: "test_a_subscriber_hears_what_is_published_from_then_on",
    HearsTooLate: "test_a_subscriber_hears_what_is_published_from_then_on",
    SleepsItsTime: "test_waiting_ends_with_the_event",
    WaitsTooLong: "test_waiting_ends_with_its_time",
    HandsToOne: "test_every_subscriber_hears",
    MixesTopics: "test_topics_are_apart",
    EndsForAll: "test_who_has_left_takes_nobody_along",
    TellsNobodyElse: "test_instances_hear_what_is_declared_shared",
    WakesTheNeighbours: "test_stores_are_apart",
}

_SUITES: dict[type[Any], tuple[type[Contract[Any]], type[Any]]] = {
    HonestLimiter: (LimiterContract, MemoryLimiter),
    HonestCache: (CacheContract, MemoryCache),
    HonestEvents: (EventsContract, MemoryEvents),
}
_PLAIN = [
    (honest, name)
    for honest, (suite, _) in _SUITES.items()
    for name, test in vars(suite).items()
    if name.startswith("test_") and not hasattr(test, "pytestmark")
]


@pytest.mark.parametrize(("honest", "name"), _PLAIN, ids=[f"{honest.__name__}-{name}" for honest, name in _PLAIN])
def test_the_honest_pass(honest: type[Any], name: str) -> None:
    """Otherwise the liars below might be caught for something that they do not lie about."""
    anyio.run(_call, honest, name)


@pytest.mark.parametrize(("liar", "name"), _LIARS.items(), ids=[liar.__name__ for liar in _LIARS])
def test_a_liar_is_caught(liar: type[Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contract that a liar passes proves nothing about those who pass it."""
    # Liars in memory are not slow: what they have not said by now, they will not say.
    monkeypatch.setattr(events, "_PATIENCE_S", 1.0)
    with pytest.raises((AssertionError, pytest.fail.Exception, ExceptionGroup)):
        anyio.run(_call, liar, name)


async def _call(adapter: type[Any], name: str) -> None:
    """Run one contract test over fresh stores, as pytest would."""
    suite, store = next(found for honest, found in _SUITES.items() if issubclass(adapter, honest))
    stores: defaultdict[str, Any] = defaultdict(store)
    test: Callable[..., Any] = getattr(suite(), name)
    if "adapter" not in inspect.signature(test).parameters:
        await test(lambda of: adapter(stores[of]))
        return
    async with opened(adapter(stores["main"])) as one:
        await test(one)
