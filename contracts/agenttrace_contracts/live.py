"""The contract of the live table: readers see what was published last, whole, and keep what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import anyio
import pyarrow as pa

from agenttrace_contracts.base import Contract, Make, opened
from agenttrace_core.model.segment import OffsetRange, Superseded
from agenttrace_core.ports.live import LiveChunk, LiveState, LiveTable
from agenttrace_core.schema.tables import CONTEXTS, FLIPS, LOGS, ROWS, TRACES

_FILE = UUID("c8d7a1de-51f2-4cc1-b0e0-94b1a1a5ab37")


class LiveTableContract(Contract[LiveTable]):
    """Every promise of ``LiveTable``. Instances of one name are publisher and readers of one table.

    A table whose instances share nothing is read through the instance that published.
    """

    async def test_a_new_table_is_empty(self, adapter: LiveTable) -> None:
        """A reader that is up before the first writer has nothing to add to files."""
        assert await adapter.current() == LiveState()

    async def test_what_is_published_is_seen_whole(self, make: Make[LiveTable]) -> None:
        """A span that was acknowledged is readable within a second, by way of this."""
        async with opened(make("main")) as writer, opened(make("main")) as other:
            state = LiveState(
                epoch="e1",
                tail={0: 10, 3: 2**40},
                chunks=[a_chunk(1, logs=2), a_chunk(2, rows=0, changes=3), a_chunk(3, rows=0, logs=1)],
                dead={"c1": (0, 2)},
                superseded=[Superseded(_FILE, "p", (1, 5), b"\0\xff")],
            )
            returned = await writer.publish(state)
            assert_same(returned, state)
            assert_same(await writer.current(), state)
            reader = await _reader_of(writer, other, "e1")
            assert_same(await reader.current(), state)

    async def test_each_publish_replaces_the_one_before(self, make: Make[LiveTable]) -> None:
        """What went into files leaves the live table, or it counts twice."""
        async with opened(make("main")) as writer, opened(make("main")) as other:
            state = await writer.publish(LiveState(epoch="e", chunks=[a_chunk(0)]))
            reader = await _reader_of(writer, other, "e")
            for n in range(1, 30):
                chunks = [*state.chunks, a_chunk(n)][-(n % 4) :]
                state = await writer.publish(LiveState(epoch="e", tail={0: n}, chunks=chunks))
                assert_same(await reader.current(), replace(state, chunks=[a_chunk(int(c.id[1:])) for c in chunks]))

    async def test_an_unchanged_table_is_the_same_state(self, make: Make[LiveTable]) -> None:
        """Every query asks; one that maps all chunks anew each time pays milliseconds for nothing."""
        async with opened(make("main")) as writer, opened(make("main")) as other:
            first = await writer.publish(LiveState(epoch="e", chunks=[a_chunk(1)]))
            reader = await _reader_of(writer, other, "e")
            state = await reader.current()
            assert await reader.current() is state
            await writer.publish(LiveState(epoch="e", chunks=[*first.chunks, a_chunk(2)]))
            assert (await reader.current()).chunks[0].rows is state.chunks[0].rows

    async def test_corrected_traces_are_seen(self, make: Make[LiveTable]) -> None:
        """Sums over a chunk with dead rows must not count what the dead rows had added."""
        async with opened(make("main")) as writer, opened(make("main")) as other:
            state = await writer.publish(LiveState(epoch="e", chunks=[a_chunk(1, logs=1), a_chunk(2)]))
            reader = await _reader_of(writer, other, "e")
            await reader.current()
            for _ in range(3):
                chunk = state.chunks[0]
                corrected = replace(chunk, traces=pa.concat_tables([chunk.traces, a_chunk(7).traces]))
                wanted = replace(state, chunks=[corrected, state.chunks[1]])
                state = await writer.publish(wanted)
                assert_same(state, wanted)
                assert_same(await reader.current(), wanted)

    async def test_tables_outlive_what_replaces_them(self, make: Make[LiveTable]) -> None:
        """A query that is under way reads on, whatever the writer flushes meanwhile."""
        async with opened(make("main")) as writer, opened(make("main")) as other:
            await writer.publish(LiveState(epoch="e1", chunks=[a_chunk(1, rows=5000, logs=5000)]))
            held = await (await _reader_of(writer, other, "e1")).current()
            await writer.publish(LiveState(epoch="e1", chunks=[a_chunk(2)]))
            await writer.publish(LiveState(epoch="e2"))
            assert_same(held, LiveState(epoch="e1", chunks=[a_chunk(1, rows=5000, logs=5000)]))

    async def test_a_new_writer_begins_anew(self, make: Make[LiveTable]) -> None:
        """After a crash, chunk ids may come again with other rows; the old ones must not stand in for them."""
        async with opened(make("main")) as dead:
            await dead.publish(LiveState(epoch="e1", tail={0: 5}, chunks=[a_chunk(1), a_chunk(2)]))
        async with opened(make("main")) as writer, opened(make("main")) as other:
            state = LiveState(epoch="e2", chunks=[replace(a_chunk(9), id="c1")])
            await writer.publish(state)
            assert_same(await (await _reader_of(writer, other, "e2")).current(), state)

    async def test_chunks_in_pieces_and_of_any_id(self, adapter: LiveTable) -> None:
        """A decoded batch comes as many record batches; an id is the writer's to choose."""
        whole = a_chunk(1, rows=100)
        pieces = pa.concat_tables([whole.rows.slice(0, 1), whole.rows.slice(1, 60), whole.rows.slice(61)])
        for name in ("a/b", "..", "é %", "x" * 100):
            state = LiveState(epoch=f"../{name}", chunks=[replace(whole, id=name, rows=pieces)])
            published = await adapter.publish(state)
            assert_same(published, state)
            assert_same(await adapter.current(), state)

    async def test_a_reader_beside_a_busy_writer_sees_whole_states(self, make: Make[LiveTable]) -> None:
        """Tail and chunks that come from two publishes would lose or double a chunk."""
        done = anyio.Event()

        async def publish() -> None:
            state = await writer.publish(LiveState(epoch="e", tail={0: 0}))
            for n in range(1, 200):
                chunks = [*state.chunks, a_chunk(n)][-3:]
                state = await writer.publish(LiveState(epoch="e", tail={0: n}, chunks=chunks))
            done.set()

        async with opened(make("main")) as writer, opened(make("main")) as other:
            await writer.publish(LiveState(epoch="e", tail={0: 0}))
            reader = await _reader_of(writer, other, "e")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(publish)
                while not done.is_set():
                    state = await reader.current()
                    newest = state.tail[0]
                    assert [c.id for c in state.chunks] == [f"c{n}" for n in range(max(1, newest - 2), newest + 1)]
                    assert all(c.rows.equals(a_chunk(int(c.id[1:])).rows) for c in state.chunks[-1:])
                    await anyio.sleep(0.001)
            assert (await reader.current()).tail == {0: 199}

    async def test_closing_twice_or_unopened_is_harmless(self, make: Make[LiveTable]) -> None:
        """A start that fails half-way closes whatever it holds."""
        await make("main").aclose()
        async with opened(make("main")) as adapter:
            await adapter.aclose()


def a_chunk(number: int, *, rows: int = 3, logs: int = 0, changes: int = 0) -> LiveChunk:
    """Make the chunk of that number: record ``number`` of partition 0, spans of as many traces, and log records.

    ``changes`` is how many flips, and how many contexts, it has.
    """
    return LiveChunk(
        id=f"c{number}",
        ranges=(OffsetRange(0, number, number + 1),),
        rows=_table(ROWS, [{"trace_id": f"{number}", "span_id": f"{n}"} for n in range(rows)]),
        traces=_table(TRACES, [{"trace_lo": number, "trace_hi": n} for n in range(rows)]),
        logs=_table(LOGS, [{"trace_id": f"{number}", "position": n} for n in range(logs)]),
        flips=_table(FLIPS, [{"trace_lo": number, "position": n, "input_tokens": -n} for n in range(changes)]),
        contexts=_table(CONTEXTS, [{"trace_lo": number, "span": n, "agent": f"a{n}"} for n in range(changes)]),
    )


def _table(schema: pa.Schema, rows: Sequence[Mapping[str, object]]) -> pa.Table:
    blank = {field.name: _blank(field.type) for field in schema if not field.nullable}
    return pa.Table.from_pylist([{**blank, **row} for row in rows], schema=schema)


def _blank(kind: pa.DataType) -> object:
    if pa.types.is_dictionary(kind):
        return _blank(kind.value_type)
    if pa.types.is_boolean(kind):
        return False
    if pa.types.is_binary(kind):
        return b""
    return "" if pa.types.is_string(kind) else 0


def assert_same(found: LiveState, wanted: LiveState) -> None:
    """Assert that two states say the same, however their tables are cut into batches."""
    assert (found.epoch, dict(found.tail), dict(found.dead)) == (wanted.epoch, dict(wanted.tail), dict(wanted.dead))
    assert list(found.superseded) == list(wanted.superseded)
    assert [(c.id, c.ranges) for c in found.chunks] == [(c.id, c.ranges) for c in wanted.chunks]
    for has, wants in zip(found.chunks, wanted.chunks, strict=True):
        assert has.rows.equals(wants.rows)
        assert has.traces.equals(wants.traces)
        assert has.logs.equals(wants.logs)
        assert has.flips.equals(wants.flips)
        assert has.contexts.equals(wants.contexts)


async def _reader_of(writer: LiveTable, other: LiveTable, epoch: str) -> LiveTable:
    return other if (await other.current()).epoch == epoch else writer
