"""Files, letters and superseded rows for the metadata contract, the same for the same number."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID, uuid5

import pyarrow as pa

from agenttrace_core.model.segment import WINDOW_NS, FileKind, Segment, SegmentFile, StoredObject, Superseded
from agenttrace_core.ports.catalog import DeadLetter, MetadataStore
from agenttrace_core.schema.tables import TRACES

QUEUE = UUID("6f1d6c0e-8a43-4d05-9a55-0d7f2a0c6d11")

_NOW_NS = time.time_ns()


def a_file(number: int, *, segments: int = 2) -> SegmentFile:
    """Make the file of that number."""
    name = uuid5(QUEUE, str(number))
    objects = {
        part: StoredObject(f"spans/{name}.{part}", 1000 + number, f"{number:032x}")
        for part in ("light", "payload", "traces")
    }
    runs = tuple(_segment(n, number) for n in range(segments))
    return SegmentFile(name, FileKind.SPANS, number % 3, "n1", objects, runs)


def _segment(n: int, number: int) -> Segment:
    window = (480_000 + number) * WINDOW_NS
    return Segment(f"p{n}", window, 10 * n, 10, 3 * n, 3, window + 1, window + 2**40, 14_000)


def a_letter(
    letter_id: str, *, project: str = "p0", received: int = 0, stored: StoredObject | None = None
) -> DeadLetter:
    """Make a letter, received that many nanoseconds after this module was imported."""
    return DeadLetter(letter_id, project, "traces", _NOW_NS + received, "trace id of 3 bytes", 2, stored)


def replaced_rows(file_id: UUID, rows: Sequence[int], project: str = "p0") -> Superseded:
    """Say that rows of a file do not count, with a sum that tells by which rows it was made."""
    traces = [{**_NO_SUMS, "project": project, "spans": -len(rows), "start_ns": row} for row in rows]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, TRACES) as writer:
        writer.write_table(pa.Table.from_pylist(traces, schema=TRACES))
    return Superseded(file_id, project, tuple(rows), sink.getvalue().to_pybytes())


_NO_SUMS = {
    "trace_hi": 1, "trace_lo": 2, "first_row": 0, "rows": 0, "end_ns": 0, "errors": 0, "input_tokens": 0,
    "output_tokens": 0, "cost_pico_usd": 0, "unpriced": 0, "running": 0, "received_ns": 0, "has_root": False,
    "name": "", "named_ns": 0,
}  # fmt: skip


def told(superseded: Sequence[Superseded]) -> dict[tuple[UUID, str], tuple[list[int], list[str]]]:
    """Return rows and sums by file and project, however a catalog cuts them into items."""
    found: dict[tuple[UUID, str], tuple[list[int], list[str]]] = {}
    for s in superseded:
        rows, sums = found.setdefault((s.file_id, s.project), ([], []))
        rows += s.rows
        sums += [repr(row) for row in pa.ipc.open_stream(s.traces_ipc).read_all().to_pylist()]
    return {key: (sorted(rows), sorted(sums)) for key, (rows, sums) in found.items()}


def keys_of(file: SegmentFile) -> list[str]:
    """Return the keys of a file's objects."""
    return [o.key for o in file.objects.values()]


async def live_ids(catalog: MetadataStore) -> set[UUID]:
    """Return the ids of the files that count."""
    return {file.id for file in (await catalog.snapshot()).files}
