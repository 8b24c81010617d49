"""Redis goes away and comes back: nobody waits for it, projects stay limited, and its return is noticed."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable

import anyio
import pytest
from anyio.to_thread import run_sync

from agenttrace_adapters.memory import MemoryLimiter
from agenttrace_adapters.redis import RedisCache, RedisEvents, RedisLimiter
from agenttrace_core.errors import ConfigurationError, OverloadedError, UnavailableError
from agenttrace_core.services.admission import Admission, IngestLimits
from agenttrace_server.doctor_backends import examine_backends
from agenttrace_server.findings import Verdict
from agenttrace_server.settings import Settings
from tests.servers.redis import RedisServer

_BACK_WITHIN_S = 20.0
_LIMITS = IngestLimits(project_bytes_per_s=1, project_burst_bytes=100)


@pytest.fixture
async def limiter(own_redis: RedisServer) -> AsyncIterator[RedisLimiter]:
    limiter = RedisLimiter.from_url(own_redis.place.url)
    await limiter.open()
    yield limiter
    await limiter.aclose()


@pytest.fixture(params=["stop", "kill", "pause"])
def leave(request: pytest.FixtureRequest, own_redis: RedisServer) -> Callable[[], None]:
    """How the server goes away."""
    going: Callable[[], None] = getattr(own_redis, request.param)
    return going


async def _until_granted(limiter: RedisLimiter) -> None:
    with anyio.fail_after(_BACK_WITHIN_S):
        while True:
            try:
                await limiter.take("any", 0, per_second=1, burst=1)
            except UnavailableError:
                await anyio.sleep(0.05)
            else:
                return


@pytest.mark.anyio
async def test_projects_stay_limited_and_nobody_waits(
    limiter: RedisLimiter, leave: Callable[[], None], own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The limiter protects ingestion; its absence must not be what stops it, nor open the gates."""
    stand_in = MemoryLimiter.from_url("memory:")
    admission = Admission(_LIMITS, limiter, stand_in=stand_in)
    await admission.admit("p", 60)
    assert not admission.limits_alone
    await run_sync(leave)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            await admission.admit("p", 10)
        for _ in range(100):
            with pytest.raises(OverloadedError):
                await admission.admit("p", 50)
    assert time.monotonic() - began < 2.0
    assert admission.limits_alone
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "this process limits projects by itself, without regard to others"
    ]
    await run_sync(own_redis.restore)
    await _until_granted(limiter)
    await admission.admit("q", 1)
    assert not admission.limits_alone
    assert caplog.records[-1].message == "processes limit projects together again"


@pytest.mark.anyio
async def test_a_server_that_is_away_at_the_start_is_used_when_it_comes(own_redis: RedisServer) -> None:
    """Machines start in any order."""
    await run_sync(own_redis.stop)
    limiter = RedisLimiter.from_url(own_redis.place.url)
    try:
        await limiter.open()
        with pytest.raises(UnavailableError, match="away"):
            await limiter.take("p", 1, per_second=1, burst=1)
        await run_sync(own_redis.start)
        await _until_granted(limiter)
    finally:
        await limiter.aclose()


@pytest.mark.anyio
async def test_a_restart_between_two_requests_is_not_noticed(limiter: RedisLimiter, own_redis: RedisServer) -> None:
    """A connection that died meanwhile says nothing about the server, which also has forgotten the script."""
    assert await limiter.take("p", 10, per_second=0, burst=10) == 0.0
    await run_sync(own_redis.stop)
    await run_sync(own_redis.start)
    assert await limiter.take("p", 10, per_second=0, burst=10) == 0.0


@pytest.mark.anyio
async def test_callers_who_give_up_leave_no_answer_to_the_next(own_redis: RedisServer) -> None:
    """An answer that is read by the wrong caller grants what was refused."""
    limiter = RedisLimiter.from_url(f"{own_redis.place.url}?timeout_ms=10000")
    await limiter.open()
    try:
        await limiter.take("empty", 1, per_second=0, burst=1)
        for n in range(300):
            with anyio.move_on_after(n * 1e-6):
                await limiter.take("full", 0, per_second=1, burst=1)
            assert await limiter.take("empty", 1, per_second=0, burst=1) > 0
    finally:
        await limiter.aclose()


@pytest.mark.anyio
async def test_a_cache_that_is_away_finds_nothing_at_once(
    own_redis: RedisServer, leave: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """What makes look-ups quicker must not make them slower."""
    cache = RedisCache.from_url(own_redis.place.url)
    await cache.open()
    try:
        await cache.put("a", b"1", ttl_s=60)
        await run_sync(leave)
        began = time.monotonic()
        for n in range(100):
            assert await cache.get(["a", "b"]) == {}
            await cache.put(f"b{n}", b"2", ttl_s=60)
        assert time.monotonic() - began < 2.0
        assert len([r for r in caplog.records if "nothing is found in the cache" in r.message]) == 1
        await run_sync(own_redis.restore)
        with anyio.fail_after(_BACK_WITHIN_S):
            while await cache.get(["c"]) != {"c": b"3"}:
                await cache.put("c", b"3", ttl_s=60)
                await anyio.sleep(0.05)
    finally:
        await cache.aclose()


@pytest.mark.anyio
async def test_listeners_hear_again_and_are_told_that_they_missed_something(
    own_redis: RedisServer, leave: Callable[[], None]
) -> None:
    """Who is never told that he was deaf waits for what was said meanwhile."""
    events = RedisEvents.from_url(own_redis.place.url)
    await events.open()
    try:
        async with events.subscribe("t") as heard:
            await run_sync(leave)
            began = time.monotonic()
            for _ in range(100):
                await events.publish("t", "lost")
            assert time.monotonic() - began < 2.0
            await run_sync(own_redis.restore)
            came: list[str] = []
            with anyio.fail_after(_BACK_WITHIN_S):
                while "again" not in came:
                    await events.publish("t", "again")
                    came += await heard.wait(0.1)
        # What was asked of a paused server may be done when it goes on, and its connections live on.
        assert set(came) <= {"", "lost", "again"}
        assert "" in came or "lost" in came
    finally:
        await events.aclose()


@pytest.mark.anyio
async def test_a_subscription_may_begin_while_the_server_is_away(own_redis: RedisServer) -> None:
    """Machines start in any order."""
    events = RedisEvents.from_url(own_redis.place.url)
    await run_sync(own_redis.stop)
    await events.open()
    try:
        async with events.subscribe("t") as heard:
            assert list(await heard.wait(0)) == []
            await run_sync(own_redis.start)
            came: list[str] = []
            with anyio.fail_after(_BACK_WITHIN_S):
                while "x" not in came:
                    await events.publish("t", "x")
                    came += await heard.wait(0.1)
            assert came[0] == ""
    finally:
        await events.aclose()


@pytest.mark.anyio
async def test_a_server_that_does_not_let_us_in_stops_the_start() -> None:
    """A wrong password does not become right by waiting, and must not be shown."""
    server = RedisServer(password="it's right")
    await run_sync(server.start)
    try:
        for url in (f"redis://{server.address}", f"redis://:wrong@{server.address}"):
            limiter = RedisLimiter.from_url(url)
            with pytest.raises(ConfigurationError, match="does not let us in") as raised:
                await limiter.open()
            assert "wrong@" not in str(raised.value)
            await limiter.aclose()
        right = RedisLimiter.from_url(f"redis://:it%27s%20right@{server.address}")
        await right.open()
        assert await right.take("p", 1, per_second=1, burst=1) == 0.0
        await right.aclose()
        nowhere = RedisLimiter.from_url(f"redis://:it%27s%20right@{server.address}/4000")
        with pytest.raises(ConfigurationError, match="does not let us in"):
            await nowhere.open()
        await nowhere.aclose()
    finally:
        await run_sync(server.destroy)


def test_the_doctor_says_how_redis_is(own_redis: RedisServer) -> None:
    """Whoever asks why limits seem not to hold must find the reason where reasons are told."""
    settings = Settings(cache=f"{own_redis.place.url}/0")
    (well,) = examine_backends(settings)
    assert (well.verdict, "answers in" in well.found) == (Verdict.GOOD, True)
    own_redis.stop()
    (away,) = examine_backends(settings)
    assert (away.verdict, "is away" in away.found) == (Verdict.NOTE, True)
    assert "by itself" in away.advice
    (wrong,) = examine_backends(Settings(cache="redis://host/x"))
    assert wrong.verdict is Verdict.WRONG
