"""A small world of spans for the index suite: what was sent, as files and live chunks, and in plain Python.

The builder plays the writer's part with the core's own encoders; the model beside it is lists and
dictionaries, and knows neither an index nor Arrow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from agenttrace_core.errors import NotFoundError
from agenttrace_core.model.segment import FileKind, OffsetRange, SegmentFile, Snapshot, StoredObject, Superseded
from agenttrace_core.model.span import UNENDED
from agenttrace_core.ports.index import View
from agenttrace_core.ports.live import LiveChunk, LiveState
from agenttrace_core.ports.storage import ObjectInfo, ObjectStorage, StorageCapabilities
from agenttrace_core.query.flips import turning
from agenttrace_core.schema.files import encode_spans_file, ipc_file, ipc_stream
from agenttrace_core.schema.grams import GramsBuilder
from agenttrace_core.schema.tables import CONTEXTS, FLIPS, LIGHT, ROWS
from agenttrace_core.schema.traces import negated, trace_sums
from agenttrace_core.wire.any_value import encode_attributes
from agenttrace_core.wire.proto_bytes import delimited

BASE_NS = 1_700_000_000_000_000_000
"""A moment in November 2023; the world's spans begin around it."""
TRACE_ID = f"{1:016x}{1:016x}"
"""The trace of spans that name no other."""


class FolderObjects(ObjectStorage):
    """Just enough of a storage for an index to read from. Not one of the adapters under test.

    Args:
        folder: where the objects are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def from_url(cls, url: str) -> FolderObjects:
        """Make one from a path."""
        return cls(Path(url))

    @property
    def capabilities(self) -> StorageCapabilities:
        """Nothing is promised."""
        return StorageCapabilities(durable=False, multi_process=False)

    async def open(self) -> None:
        """Make the folder."""
        await anyio.Path(self.folder).mkdir(parents=True, exist_ok=True)

    async def aclose(self) -> None:
        """Nothing is held."""

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        """Write the object."""
        path = anyio.Path(self.folder / key)
        await path.parent.mkdir(parents=True, exist_ok=True)
        await path.write_bytes(b"".join(data))

    async def get(self, key: str) -> bytes:
        """Read the object."""
        path = anyio.Path(self.folder / key)
        if not await path.exists():
            raise NotFoundError(f"no object {key}")
        return await path.read_bytes()

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Read parts of the object."""
        body = await self.get(key)
        return [body[offset : offset + length] for offset, length in ranges]

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Name nothing: an index does not list."""
        nothing: tuple[ObjectInfo, ...] = ()
        for info in nothing:
            yield info

    async def delete(self, key: str) -> None:
        """Remove the object."""
        await anyio.Path(self.folder / key).unlink(missing_ok=True)


class LocalFolderObjects(FolderObjects):
    """The same, whose objects an index may map where they are."""

    def local_path(self, key: str) -> Path:
        """Where the object is."""
        return self.folder / key


@dataclass(frozen=True, slots=True)
class SentSpan:
    """A version of a span, as light columns, and where it is now. Its payload is ``payload_of`` it."""

    light: Mapping[str, Any]
    source: str = ""
    row: int = -1

    @property
    def arrival(self) -> tuple[int, int, int]:
        """What tells this version from every other."""
        return self.light["partition"], self.light["offset"], self.light["position"]

    @property
    def identity(self) -> tuple[Any, ...]:
        """Of which span it is a version."""
        return tuple(self.light[n] for n in ("project", "trace_id", "span_id", "kind", "service", "start_ns"))

    @property
    def placed_ns(self) -> int:
        """Its start, or where it has none, when it was received."""
        start = self.light["start_ns"]
        return int(self.light["received_ns"] if start is None else start)

    @property
    def end_ns(self) -> int:
        """Its end, or start where it has not ended."""
        return self.placed_ns + max(self.light["duration_ns"] or 0, 0)

    @property
    def precedence(self) -> tuple[Any, ...]:
        """The greatest of a span's versions counts."""
        duration = self.light["duration_ns"]
        return duration is not None, duration or 0, self.light["received_ns"], *self.arrival


def payload_of(light: Mapping[str, Any]) -> bytes:
    """Return a span's protobuf in this world: a name of its own, and its attributes."""
    name = f"{light['partition']}-{light['offset']}-{light['position']}".encode()
    own = [(key, value) for key, value in light["attributes"] or () if not key.startswith("resource.")]
    texts = [(key, hidden_value(light, key) if value is None else value) for key, value in own]
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in texts]
    return delimited(b"\x2a", name) + encode_attributes(b"\x4a", pairs)


def hidden_value(light: Mapping[str, Any], key: str) -> str:
    """Return the value of an attribute that light columns name without a value, since the payload alone has it."""
    return f"{key} of {light['span_id']}, hidden in the Payload " + "~" * 256


@dataclass(frozen=True, slots=True)
class Said:
    """What a chunk or a file says of rows written before."""

    flips: pa.Table = field(default_factory=FLIPS.empty_table)
    contexts: pa.Table = field(default_factory=CONTEXTS.empty_table)

    @classmethod
    def of_all(cls, said: Sequence[Said]) -> Said:
        """Join what several say."""
        return cls(
            pa.concat_tables([FLIPS.empty_table(), *(s.flips for s in said)]),
            pa.concat_tables([CONTEXTS.empty_table(), *(s.contexts for s in said)]),
        )


def payload_texts(light: Mapping[str, Any]) -> list[str]:
    """Return the texts of a span's payload, beside those that light columns have too."""
    own = [(key, value) for key, value in light["attributes"] or () if not key.startswith("resource.")]
    hidden = [hidden_value(light, key) for key, value in own if value is None]
    return [f"{light['partition']}-{light['offset']}-{light['position']}", *(key for key, _ in own), *hidden]


class World:
    """What was sent so far, what of it counts, and the view that an index is given of it.

    Args:
        storage: where flushed files are put; what the index was attached to.
    """

    def __init__(self, storage: ObjectStorage) -> None:
        self.storage = storage
        self.spans: list[SentSpan] = []
        self.lost: list[SentSpan] = []
        """Versions that were superseded. They stay where they are until compaction."""
        self._files: list[SegmentFile] = []
        self._superseded: list[Superseded] = []
        self._live_superseded: list[Superseded] = []
        self._chunks: dict[str, pa.Table] = {}
        self._changes: dict[str, Said] = {}
        self._flipped: set[tuple[int, int, int]] = set()
        self._told: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self._offset = 0
        self._flushed = 0
        self._version = 0

    def view(self) -> View:
        """Return what an index may see."""
        dead: dict[str, list[int]] = {}
        for span in self.lost:
            if span.source in self._chunks:
                dead.setdefault(span.source, []).append(span.row)
        gone = {span.arrival for span in self.lost if span.source in self._chunks}
        chunks = [
            LiveChunk(
                i, _ranges(i), rows, trace_sums(_without(rows, dead.get(i, ()))),
                flips=_but(self._changes[i].flips, gone), contexts=self._changes[i].contexts,
            )
            for i, rows in self._chunks.items()
        ]  # fmt: skip
        return View(
            Snapshot(self._version, {0: self._flushed}, tuple(self._files), tuple(self._superseded)),
            LiveState(
                "world", {}, chunks, {i: tuple(sorted(rows)) for i, rows in dead.items()}, tuple(self._live_superseded)
            ),
        )

    def arrive(self, lights: Iterable[Mapping[str, Any]]) -> None:
        """Add a live chunk; of versions of one span the lesser are superseded, where they are found."""
        self._offset += 1
        chunk = f"chunk-{self._offset}"
        arrived: dict[tuple[Any, ...], SentSpan] = {}
        for position, light in enumerate(lights):
            full = {**light, "partition": 0, "offset": self._offset, "position": position}
            span = SentSpan(full, chunk, len(arrived))
            if span.identity not in arrived:
                arrived[span.identity] = span
        if not arrived:
            return
        self._chunks[chunk] = rows_of([span.light for span in arrived.values()])
        self._changes[chunk] = Said()
        for span in arrived.values():
            self._add(span)

    def flip(self, spans: Iterable[SentSpan]) -> None:
        """Add a live chunk which says of spans that have tokens: they count where they did not, or the reverse."""
        chosen = [self.now(span) for span in spans]
        flips = [turning(rows_of([light]), np.array([not light["counted"]])) for light in chosen]
        self._say(Said(flips=pa.concat_tables([FLIPS.empty_table(), *flips])))
        self._flipped ^= {(light["partition"], light["offset"], light["position"]) for light in chosen}

    def tell(self, project: str, trace_id: str, span_id: str, **context: Any) -> None:
        """Add a live chunk which says the context of a span to all that refer to it."""
        self._told[project, trace_id, span_id] = context
        ref = int(context.get("ref") or "0", 16)
        row = {"project": project, "trace_hi": int(trace_id[:16], 16), "trace_lo": int(trace_id[16:], 16),
               "span": int(span_id, 16), "seekers": 1, "ended": True, **context, "ref": ref}  # fmt: skip
        self._say(Said(contexts=pa.Table.from_pylist([row], schema=CONTEXTS)))

    def tell_once(self, project: str, trace_id: str, span_id: str, context: Mapping[str, Any]) -> None:
        """The same, unless it was told before."""
        if (project, trace_id, span_id) not in self._told:
            self.tell(project, trace_id, span_id, **context)

    def now(self, span: SentSpan) -> Mapping[str, Any]:
        """Return a span's light columns as they are by now."""
        light = dict(span.light)
        if span.arrival in self._flipped:
            light["counted"] = not light["counted"]
        seen: set[str] = set()
        while light["context_ref"] is not None and light["context_ref"] not in seen:
            seen.add(light["context_ref"])
            told = self._told.get((light["project"], light["trace_id"], light["context_ref"]))
            if told is None:
                break
            for name in ("agent", "session_id", "user_id"):
                if light[f"context_{name}"] is None:
                    light[f"context_{name}"] = told.get(name)
            wanting = None in [light[f"context_{name}"] for name in ("agent", "session_id", "user_id")]
            light["context_ref"] = told.get("ref") if wanting else None
        return light

    def _say(self, said: Said) -> None:
        self._offset += 1
        self._chunks[f"chunk-{self._offset}"] = rows_of([])
        self._changes[f"chunk-{self._offset}"] = said

    async def flush(self) -> None:
        """Make one file of all live chunks."""
        live = [span for span in self.spans if span.source in self._chunks]
        gone = {span.arrival for span in self.lost if span.source in self._chunks}
        said = [Said(_but(self._changes[i].flips, gone), self._changes[i].contexts) for i in self._chunks]
        self._chunks.clear()
        self._flushed = self._offset + 1
        self.lost = [span for span in self.lost if any(str(f.id) == span.source for f in self._files)]
        self._superseded += self._live_superseded
        self._live_superseded = []
        await self._move(live, 0, said)

    async def compact(self) -> None:
        """Make one file of all files, without what was superseded in them."""
        assert not self._live_superseded, "the world compacts right after a flush"
        old = {str(file.id) for file in self._files}
        self._files, self._superseded = [], []
        self.lost = [span for span in self.lost if span.source not in old]
        merged = [replace(span, light=self.now(span)) if span.source in old else span for span in self.spans]
        gone = {span.arrival for span in self.spans if span.source in old}
        self._flipped -= gone
        for chunk in self._chunks:
            self._changes[chunk] = replace(self._changes[chunk], flips=_but(self._changes[chunk].flips, gone))
        self.spans = merged
        said = [said for source, said in self._changes.items() if source in old]
        # Flips are on the rows now; what is told is kept: it does no harm to those who know it.
        await self._move([span for span in merged if span.source in old], 1, [Said(contexts=s.contexts) for s in said])

    async def _move(self, spans: list[SentSpan], level: int, said: Sequence[Said]) -> None:
        self._version += 1
        if not spans:
            # What is said goes into a file with rows: until there is one, it stays live.
            self._say(Said.of_all(said))
            return
        file_id = uuid4()
        grams = GramsBuilder(bits=12, block_rows=2, least_rows=1) if level > 0 else None
        encoded = encode_spans_file(rows_of([span.light for span in spans]), rollup=level > 0, grams=grams)
        whole = Said.of_all(said)
        self._changes[str(file_id)] = whole
        changes = {"flips": whole.flips, "contexts": whole.contexts}
        objects = {**encoded.objects, **{name: ipc_file(table) for name, table in changes.items() if len(table)}}
        self._files.append(await self._put(file_id, objects, encoded.segments, level))
        # Read back without the index: which row of the file is whose.
        light = pq.read_table(pa.BufferReader(encoded.objects["light"]))
        columns = (light[name].to_pylist() for name in ("partition", "offset", "position"))
        row_of = {arrival: row for row, arrival in enumerate(zip(*columns, strict=True))}
        moved = {span.arrival: replace(span, source=str(file_id), row=row_of[span.arrival]) for span in spans}
        self.spans = [moved.get(span.arrival, span) for span in self.spans]

    async def _put(self, file_id: UUID, objects: Mapping[str, pa.Buffer], segments: Any, level: int) -> SegmentFile:
        stored = {
            name: StoredObject(f"{file_id}/{name}", body.size, xxhash.xxh3_128_hexdigest(body))
            for name, body in objects.items()
        }
        for name, body in objects.items():
            await self.storage.put(stored[name].key, [memoryview(body)])
        return SegmentFile(file_id, FileKind.SPANS, level, "", stored, segments)

    def _add(self, span: SentSpan) -> None:
        rival = next((other for other in self.spans if other.identity == span.identity), None)
        if rival is None:
            self.spans.append(span)
            return
        loser, winner = sorted((rival, span), key=lambda version: version.precedence)
        self.spans = [other for other in self.spans if other is not rival]
        self.spans.append(winner)
        self.lost.append(loser)
        if loser.source not in self._chunks:
            taken_back = ipc_stream(negated(trace_sums(rows_of([self.now(loser)]))))
            self._live_superseded.append(
                Superseded(UUID(loser.source), loser.light["project"], (loser.row,), taken_back)
            )


@dataclass(frozen=True, slots=True)
class ExpectedTrace:
    """What a list of traces should say of one. Where several names are right, all are given."""

    trace_id: str
    start_ns: int
    end_ns: int
    spans: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_pico_usd: int
    unpriced: int
    running: int
    received_ns: int
    latest_ns: int
    has_root: bool
    names: frozenset[str]
    sessions: frozenset[str | None]


def expected_traces(world: World, project: str) -> list[ExpectedTrace]:
    """Return a project's traces, newest first, by counting in plain Python."""
    by_trace: dict[str, list[SentSpan]] = {}
    for span in world.spans:
        if span.light["project"] == project:
            by_trace.setdefault(span.light["trace_id"], []).append(span)
    traces = [_expected(trace_id, spans, world) for trace_id, spans in by_trace.items()]
    return sorted(traces, key=lambda trace: (trace.start_ns, trace.trace_id), reverse=True)


def _expected(trace_id: str, spans: list[SentSpan], world: World) -> ExpectedTrace:
    roots = [span for span in spans if span.light["parent_span_id"] is None]
    earliest = min(span.placed_ns for span in roots or spans)
    counted = [span for span in spans if world.now(span)["counted"]]
    identities = {span.identity for span in roots or spans if span.placed_ns == earliest}
    start_ns = min(span.placed_ns for span in spans)
    whose = (spans[0].light["project"], trace_id)
    lost = [span for span in world.lost if (span.light["project"], span.light["trace_id"]) == whose]
    return ExpectedTrace(
        trace_id=trace_id,
        start_ns=start_ns,
        end_ns=max([start_ns, *(span.end_ns for span in spans if span.light["start_ns"] is not None)]),
        spans=len(spans),
        errors=sum(span.light["status"] == "error" for span in spans),
        input_tokens=sum(span.light["input_tokens"] or 0 for span in counted),
        output_tokens=sum(span.light["output_tokens"] or 0 for span in counted),
        cost_pico_usd=sum(int((span.light["cost_usd"] or 0) * 10**12) for span in counted),
        unpriced=sum(_has_tokens(span) and span.light["cost_usd"] is None for span in counted),
        running=sum(span.light["quality"] & int(UNENDED) != 0 for span in spans),
        received_ns=max(span.light["received_ns"] for span in spans),
        # Until compaction a superseded version may still be the latest that came.
        latest_ns=max(span.light["received_ns"] for span in (*spans, *lost)),
        has_root=bool(roots),
        # Until compaction a superseded version may still lend its name.
        names=frozenset(span.light["name"] for span in (*spans, *world.lost) if span.identity in identities),
        sessions=_sessions(spans, lost),
    )


def _sessions(spans: Sequence[SentSpan], lost: Sequence[SentSpan]) -> frozenset[str | None]:
    """Return whose a trace may be: the root's session, else the first; until merged also a lost version's."""
    least = min((_rank(span) for span in spans if span.light["session_id"] is not None), default=None)
    named = [span for span in (*spans, *lost) if span.light["session_id"] is not None]
    found: set[str | None] = {span.light["session_id"] for span in named if least is None or _rank(span) <= least}
    if least is None:
        found.add(None)
    return frozenset(found)


def _rank(span: SentSpan) -> tuple[bool, int]:
    """Return where a span stands among those that may say whose its trace is."""
    return span.light["parent_span_id"] is not None, span.placed_ns


def _has_tokens(span: SentSpan) -> bool:
    return not (span.light["input_tokens"] is None and span.light["output_tokens"] is None)


def rows_of(lights: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows of ``ROWS`` from light columns."""
    columns: dict[str, list[Any]] = {name: [light[name] for light in lights] for name in LIGHT.names}
    columns["span"] = [payload_of(light) for light in lights]
    for name in ROWS.names[len(LIGHT.names) + 1 :]:
        columns[name] = [light["service"] and str(light["service"]).encode() for light in lights]
    return pa.table([pa.array(columns[f.name], f.type) for f in ROWS], schema=ROWS)


def light_row(**values: Any) -> dict[str, Any]:
    """Return the light columns of a span, of which only what matters need be given."""
    defaults: dict[str, Any] = dict.fromkeys(LIGHT.names)
    defaults |= {
        "project": "default", "trace_id": TRACE_ID, "span_id": "1".zfill(16), "name": "span", "kind": "internal",
        "status": "unset", "quality": 0, "start_ns": BASE_NS, "duration_ns": 1_000, "received_ns": BASE_NS,
        "more_attributes": False,
    }  # fmt: skip
    row = defaults | values
    if "counted" not in values and not (row["input_tokens"] is None and row["output_tokens"] is None):
        row["counted"] = True
    return row


def _but(flips: pa.Table, gone: Set[tuple[int, int, int]]) -> pa.Table:
    """Leave out the flips of rows that are gone."""
    arrivals = zip(*(flips[name].to_pylist() for name in ("partition", "offset", "position")), strict=True)
    return flips.filter(pa.array([arrival not in gone for arrival in arrivals], pa.bool_()))


def _ranges(chunk: str) -> tuple[OffsetRange, ...]:
    offset = int(chunk.removeprefix("chunk-"))
    return (OffsetRange(0, offset, offset + 1),)


def _without(rows: pa.Table, dead: Iterable[int]) -> pa.Table:
    gone = set(dead)
    return rows.take(pa.array([row for row in range(len(rows)) if row not in gone], pa.int64()))
