"""Honest acknowledgement, and refusal in time: nothing is acknowledged that is not durable."""

from __future__ import annotations

import asyncio

import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from agenttrace_core.errors import UnavailableError
from agenttrace_core.services.admission import IngestLimits
from tests.integration.doors import JSON, Door, open_door, request, span

pytestmark = pytest.mark.anyio

_BODY = request(*(span(n) for n in range(1, 50)))


async def test_nothing_is_acknowledged_before_it_is_durable(door: Door) -> None:
    """The first promise: 200 means that a power cut does not lose it."""
    door.queue.gate.clear()
    answer = asyncio.ensure_future(door.post(_BODY))
    done, _ = await asyncio.wait({answer}, timeout=0.5)
    assert not done
    door.queue.gate.set()
    assert (await answer).status_code == 200


async def test_a_queue_that_cannot_store_is_503_with_retry_after_and_heals(door: Door) -> None:
    """Disk full or broker away: told, retried, and served again without a restart."""
    door.queue.error = UnavailableError("the log could not be written: No space left on device")
    response = await door.post(_BODY)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    status = Status.FromString(response.content)
    assert (status.code, "No space left" in status.message) == (14, True)
    door.queue.error = None
    assert (await door.post(_BODY)).status_code == 200


async def test_an_internal_failure_is_500_without_its_secrets(door: Door) -> None:
    """A bug must be told, not hang; and not print its insides to a stranger."""
    door.queue.error = RuntimeError("password=hunter2")
    response = await door.post(b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"' + b"a" * 32 + b'","spanId":"'
                               + b"b" * 16 + b'"}]}]}]}', JSON)  # fmt: skip
    assert (response.status_code, response.json()["code"]) == (500, 13)
    assert "hunter2" not in response.text


async def test_a_full_backlog_is_429_until_the_writer_has_caught_up() -> None:
    """Above the writer's rate the backlog is bounded, and senders are told to wait, not dropped."""
    limits = IngestLimits(max_backlog_bytes=int(2.5 * len(_BODY)))
    async with open_door(limits=limits) as door:
        assert [(await door.post(_BODY)).status_code for _ in range(3)] == [200, 200, 429]
        response = await door.post(_BODY)
        assert 1 <= int(response.headers["retry-after"]) <= 3
        status = Status.FromString(response.content)
        retry = RetryInfo()
        assert status.code == 8
        assert status.details[0].Unpack(retry)
        assert 1 <= retry.retry_delay.seconds <= 3
        door.admission.seen_backlog(0)
        assert (await door.post(_BODY)).status_code == 200


async def test_the_backlog_is_read_again_and_again() -> None:
    """What the door stored counts at once; what the writer wrote is noticed by itself."""
    async with open_door(limits=IngestLimits(max_backlog_bytes=len(_BODY) + 1000), backlog=0) as door:
        assert (await door.post(_BODY)).status_code == 200
        assert (await door.post(_BODY)).status_code == 429
        await asyncio.sleep(0.4)
        assert (await door.post(_BODY)).status_code == 200


async def test_slow_storage_bounds_what_is_held_in_memory() -> None:
    """With an fsync that takes seconds, waiting bodies must not grow until the process is killed."""
    limits = IngestLimits(max_in_flight_bytes=5 * len(_BODY))
    async with open_door(limits=limits) as door:
        door.queue.gate.clear()
        posts = [asyncio.ensure_future(door.post(_BODY)) for _ in range(20)]
        async with asyncio.timeout(30):
            while sum(post.done() for post in posts) < 15:
                assert door.admission.in_flight <= limits.max_in_flight_bytes
                await asyncio.sleep(0.01)
        door.queue.gate.set()
        answers = [await post for post in posts]
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 15
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
        assert len(await door.records()) == 5
        assert door.admission.in_flight == 0


async def test_stopping_answers_what_is_under_way_and_takes_no_more(door: Door) -> None:
    """SIGTERM drains: spans that are stored are acknowledged, or they would be sent twice."""
    door.queue.gate.clear()
    answer = asyncio.ensure_future(door.post(_BODY))
    async with asyncio.timeout(30):
        while not door.admission.in_flight:
            await asyncio.sleep(0.01)
    door.stop.set()
    await asyncio.sleep(0.3)
    with pytest.raises(ConnectionRefusedError):
        async with door.connect():
            pass
    assert not door.task.done()
    door.queue.gate.set()
    assert (await answer).status_code == 200
    await asyncio.wait_for(asyncio.shield(door.task), 10)


async def test_what_was_refused_is_kept_across_a_stop() -> None:
    """A refusal that was told must be found among the dead letters afterwards."""
    async with open_door() as door:
        await asyncio.gather(*(door.post(b"\xff" + bytes([n])) for n in range(50)))
    assert len(await door.refused(50)) == 50


async def test_rubbish_is_kept_only_so_far() -> None:
    """A broken sender in a loop must not fill the disk with its rubbish."""
    limits = IngestLimits(refused_burst_bytes=10_000, refused_bytes_per_s=1)
    async with open_door(limits=limits) as door:
        for _ in range(20):
            assert (await door.post(b"\xff" * 1500)).status_code == 400
        figures = (await door.client.get("/metrics")).text
    assert 1 <= len(await door.refused()) <= 6
    assert 'agenttrace_ingest_refused_not_kept_total{signal="traces"}' in figures
