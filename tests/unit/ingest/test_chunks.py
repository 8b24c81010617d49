"""How much a writer reads at once, and how often."""

from __future__ import annotations

import pytest

from agenttrace_adapters.memory import MemoryQueue, MemoryStorage
from agenttrace_core.ports.queue import Headers, Signal
from agenttrace_core.services.pace import pause_s
from agenttrace_core.services.tail import Tail

_BODY = bytes(1_000)


@pytest.mark.parametrize(
    ("took_s", "pause"),
    [
        pytest.param(0.001, 0.099, id="next to nothing"),
        pytest.param(0.05, 0.1, id="a third of the time"),
        pytest.param(0.2, 0.1, id="not too late for readers"),
        pytest.param(5.0, 0.0, id="no pause at all"),
    ],
)
def test_chunks_are_further_apart_where_they_take_much_of_the_time(took_s: float, pause: float) -> None:
    """Lost: a busy writer spends itself on small chunks, or what was sent is readable late for no reason."""
    assert pause_s(took_s, 0.1) == pytest.approx(pause)


@pytest.mark.anyio
async def test_what_is_left_waiting_is_told() -> None:
    """Lost: the writer rests between chunks though it is behind, or never does."""
    queue = MemoryQueue(partitions=2)
    await queue.open()
    tail = Tail(queue, MemoryStorage(), {}, offset_base=0)
    for partition in (0, 0, 0, 1):
        await queue.append(Headers("shop", Signal.TRACES, 1), _BODY, partition=partition)
    first = await tail.read(3 * len(_BODY))  # a share of one and a half for each partition
    second = await tail.read(3 * len(_BODY))
    third = await tail.read(3 * len(_BODY))
    assert [(len(read.records), read.more) for read in (first, second, third)] == [(2, True), (2, False), (0, False)]
