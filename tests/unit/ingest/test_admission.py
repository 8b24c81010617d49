"""Room for a request, and the bound on what is refused."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from agenttrace_adapters.memory import MemoryLimiter, MemoryQueue
from agenttrace_core.errors import OverloadedError, UnavailableError
from agenttrace_core.ports.queue import Headers, Position, Signal
from agenttrace_core.services.admission import Admission, IngestLimits
from agenttrace_core.services.appender import Appender
from agenttrace_core.services.refusals import Refusals, RefusedInput
from agenttrace_core.wire.status import Encoding

pytestmark = pytest.mark.anyio


def _refusal(number: int, size: int = 10, project: str = "p") -> RefusedInput:
    return RefusedInput(project, Signal.TRACES, number, f"reason {number}", 1, Encoding.JSON, bytes(size))


async def test_bytes_in_flight_are_bounded_and_given_back() -> None:
    """A storage that hangs must not make the process grow."""
    admission = Admission(IngestLimits(max_in_flight_bytes=100))
    with admission.holding(60):
        with pytest.raises(OverloadedError) as caught:
            admission.hold(41)
        assert 1 <= caught.value.retry_after_s <= 3
        admission.hold(40)
        admission.release(40)
    assert admission.in_flight == 0


async def test_a_body_above_the_bound_is_taken_when_nothing_else_is_held() -> None:
    """Limits set at odds must not refuse a request for ever with 'try again later'."""
    admission = Admission(IngestLimits(max_in_flight_bytes=100))
    with admission.holding(500), pytest.raises(OverloadedError):
        admission.hold(1)


async def test_the_backlog_bounds_what_is_stored_between_two_looks() -> None:
    """A flood between two polls of the catalog must not pass unseen."""
    admission = Admission(IngestLimits(max_backlog_bytes=100))
    admission.seen_backlog(50)
    await admission.admit("p", 50)
    admission.stored(50)
    with pytest.raises(OverloadedError, match="100"):
        await admission.admit("p", 1)
    admission.seen_backlog(0)
    await admission.admit("p", 100)


async def test_one_project_cannot_use_up_the_rate_of_another() -> None:
    """A noisy project is told to wait, and its neighbours are not."""
    limiter = MemoryLimiter.from_url("memory:")
    await limiter.open()
    limits = IngestLimits(project_bytes_per_s=10, project_burst_bytes=100)
    admission = Admission(limits, limiter)
    await admission.admit("noisy", 100)
    with pytest.raises(OverloadedError, match="noisy") as caught:
        await admission.admit("noisy", 100)
    assert caught.value.retry_after_s == 3
    await admission.admit("quiet", 100)
    await limiter.aclose()


async def test_a_refusal_reads_back_from_its_record() -> None:
    """The writer makes dead letters of these, to be looked at and sent again."""
    refusal = RefusedInput("p", Signal.LOGS, 5, "line\nbreak \ud800", 3, Encoding.PROTOBUF, b"\n\xff\0")
    headers, body = refusal.to_record()
    assert (headers.project, headers.signal, headers.received_ns) == ("p", Signal.REFUSED, 5)
    assert RefusedInput.from_record(body) == refusal


async def test_refusals_are_appended_in_order_and_none_is_lost_at_the_end() -> None:
    """What was told to be refused must be found afterwards, also if the process ends at once."""
    queue = MemoryQueue.from_url("memory:")
    await queue.open()
    refusals = Refusals(Appender(queue), IngestLimits())
    assert all(refusals.add(_refusal(number)) for number in range(20))
    refusals.close()
    assert not refusals.add(_refusal(21)), "nothing is taken after the end"
    await refusals.run()
    kept = [RefusedInput.from_record(record.body) for record in await queue.read(0, 0, max_bytes=1 << 30)]
    assert [refusal.received_ns for refusal in kept] == list(range(20))


async def test_each_projects_rubbish_is_bounded_by_itself() -> None:
    """One broken sender must neither fill the disk nor silence the others' refusals."""
    refusals = Refusals(
        Appender(MemoryQueue.from_url("memory:")), IngestLimits(refused_burst_bytes=5000, refused_bytes_per_s=0)
    )
    kept = sum(refusals.add(_refusal(number, size=1000)) for number in range(100))
    assert kept == 3
    assert refusals.add(_refusal(0, project="other"))


async def test_what_waits_is_bounded_while_the_queue_hangs() -> None:
    """Refusals wait in memory; with a queue that hangs they must not fill it."""

    class Hanging(MemoryQueue):
        async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
            await anyio.sleep_forever()
            raise AssertionError("never")

    limits = IngestLimits(refused_burst_bytes=1 << 40)
    refusals = Refusals(Appender(Hanging.from_url("memory:")), limits)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refusals.run)
        await anyio.lowlevel.checkpoint()
        kept = sum(refusals.add(_refusal(number, size=1 << 20)) for number in range(500))
        assert 10 <= kept <= 64
        tasks.cancel_scope.cancel()


async def test_a_queue_that_is_away_costs_refusals_and_nothing_else() -> None:
    """The task must go on: later refusals are kept again."""

    class Flaky(MemoryQueue):
        failures = 2

        async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
            if self.failures:
                self.failures -= 1
                raise UnavailableError("away")
            return await super().append(headers, body, partition=partition)

    queue = Flaky.from_url("memory:")
    await queue.open()
    refusals = Refusals(Appender(queue), IngestLimits())
    for number in range(3):
        refusals.add(_refusal(number))
    refusals.close()
    await refusals.run()
    assert [record.headers.received_ns for record in await queue.read(0, 0, max_bytes=1 << 30)] == [2]
