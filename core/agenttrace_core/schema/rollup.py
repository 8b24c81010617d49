"""Roll-ups: what the spans of an hour add up to, by what they have in common.

A *cell* is the spans of one project and window that agree in all of ``DIMENSIONS``. What adds up is a number
of its row. What does not (percentiles, distinct traces) is there as lists, from which the answer for any union
of cells is as exact as from the spans: durations ascending, and the rows of the file's traces object.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.schema.arrays import Bools, Int64s, numbers, whole
from agenttrace_core.schema.traces import RowKeys
from agenttrace_core.schema.usage import MONEY_SUM, Usage, money, pico_usd

DIMENSIONS = (
    "service", "environment", "operation", "provider", "model", "agent", "tool", "status", "error_type", "prompt",
)  # fmt: skip
"""What the spans of a cell agree in, by the names of ``LIGHT``; ``agent`` is that of their context."""

_COSTS = ("cost_usd", "given_cost_usd", "cost_difference_usd")
_COUNTS = (
    "spans", "errors", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
    "unpriced", "timed", "duration_ns", "generated_tokens", "generating_ns",
)  # fmt: skip
SUMS = (*_COUNTS, *_COSTS)
"""The columns that add up. ``timed`` spans have a duration; ``generating_ns`` is how long spans took that count
and have output tokens, ``generated_tokens`` are those."""

ROLLUP = pa.schema(
    [
        pa.field("project", pa.string(), nullable=False),
        pa.field("window", pa.int64(), nullable=False),
        *(pa.field(name, pa.dictionary(pa.int32(), pa.string())) for name in DIMENSIONS),
        *(pa.field(name, pa.int64(), nullable=False) for name in _COUNTS),
        *(pa.field(name, MONEY_SUM, nullable=False) for name in _COSTS),
        pa.field("first_ns", pa.int64(), nullable=False),  # the earliest start; when received where there is none
        pa.field("last_ns", pa.int64(), nullable=False),  # the latest
        pa.field("durations", pa.list_(pa.int64()), nullable=False),  # ascending, none below 0
        pa.field("first_chunks", pa.list_(pa.int64()), nullable=False),  # times to the first chunk, likewise
        pa.field("traces", pa.list_(pa.uint32()), nullable=False),  # rows of the traces object, ascending
    ]
)

LISTS = ("durations", "first_chunks", "traces")

OPEN_AGENTS = b"agenttrace.open_agents"
"""In the schema's metadata: ``1`` where the agent of a span may still be told by an ancestor that is in no file."""

_MOST_CELLS = 4
_SPARE_CELLS = 64
_SAFE = float(1 << 62)
_READ = (
    "start_ns", "received_ns", "duration_ns", "time_to_first_chunk_ns", "cache_read_tokens", "cache_write_tokens",
    "reasoning_tokens", "given_cost_usd",
)  # fmt: skip


class RollupBuilder:
    """Makes the roll-up of a file whose rows come in pieces, in the file's order."""

    def __init__(self) -> None:
        self._pieces: list[pa.Table] = []
        self._rows = 0
        self._open_agents = False
        self._is_safe = True

    def add(self, light: pa.Table, keys: RowKeys, trace: Int64s) -> None:
        """Add the next rows (columns of ``LIGHT``); ``trace`` is the row of the traces object of each."""
        self._rows += len(light)
        self._open_agents |= _has_open_agents(light)
        if self._is_safe:
            piece = _cells(light, keys, trace)
            self._is_safe = piece is not None and len(piece) <= len(light) // _MOST_CELLS + _SPARE_CELLS
            self._pieces += [piece] if piece is not None else []

    def finish(self) -> pa.Table | None:
        """Return the roll-up (schema ``ROLLUP``).

        None where the spans have too little in common for it to be worth its bytes, or sums might leave 64 bits.
        """
        if not self._pieces or not self._is_safe:
            return None
        merged = _merged(pa.concat_tables(self._pieces).unify_dictionaries().combine_chunks())
        if merged is None:
            return None
        return merged.replace_schema_metadata({OPEN_AGENTS: b"1" if self._open_agents else b"0"})


def _has_open_agents(light: pa.Table) -> bool:
    is_open = pc.and_(pc.is_valid(light["context_ref"]), pc.is_null(_agents(light)))
    return bool(pc.any(is_open).as_py())


def _cells(light: pa.Table, keys: RowKeys, trace: Int64s) -> pa.Table | None:
    """Sum rows up by cell. None if a sum might overflow."""
    dimensions = {name: light[name] for name in DIMENSIONS} | {"agent": _agents(light)}
    codes = [keys.project, keys.window, *(_codes(column) for column in dimensions.values())]
    order, first = _groups(_joint(codes))
    columns = _values(light)
    if any(float(np.abs(values).astype(np.float64).sum()) > _SAFE for values in columns.values()):
        return None
    head = pa.array(order[first])
    arrays: dict[str, pa.Array] = {
        "project": pa.array(keys.projects, pa.string()).take(pa.array(keys.project[order[first]])),
        "window": pa.array(keys.window[order[first]]),
        **{name: whole(column).take(head).dictionary_encode() for name, column in dimensions.items()},
        **{name: _summed(name, values[order], first) for name, values in columns.items()},
        "first_ns": pa.array(np.minimum.reduceat(keys.start[order], first)),
        "last_ns": pa.array(np.maximum.reduceat(keys.start[order], first)),
    }
    cell = np.empty(len(order), np.int64)
    cell[order] = np.repeat(np.arange(len(first)), np.diff(first, append=len(order)))
    duration = whole(light["duration_ns"])
    chunk = whole(light["time_to_first_chunk_ns"])
    arrays["durations"] = _list(cell, np.maximum(_filled(duration), 0), _valid(duration), len(first))
    arrays["first_chunks"] = _list(cell, np.maximum(_filled(chunk), 0), _valid(chunk), len(first))
    arrays["traces"] = _distinct(cell, trace, len(first))
    return pa.table([arrays[f.name].cast(f.type) for f in ROLLUP], schema=ROLLUP)


def _agents(light: pa.Table) -> pa.ChunkedArray:
    return pc.coalesce(light["context_agent"], light["agent"])


def _summed(name: str, values: Int64s, first: Int64s) -> pa.Array:
    sums = np.add.reduceat(values, first)
    return money(sums) if name in _COSTS else pa.array(sums)


def _values(light: pa.Table) -> dict[str, Int64s]:
    """Return what each row adds to each of ``SUMS``."""
    usage = Usage.of(light)
    counts = np.asarray(whole(light["counted"]).fill_null(False))
    cost, given = whole(light["cost_usd"]), whole(light["given_cost_usd"])
    has_both = counts & _valid(cost) & _valid(given)
    duration = whole(light["duration_ns"])
    took = np.maximum(_filled(duration), 0)
    generates = counts & (usage.output_tokens > 0) & (took > 0)
    parts = {
        name: np.where(counts, _filled(whole(light[name])), 0)
        for name in ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    }
    return {
        "spans": np.ones(len(light), np.int64),
        "errors": np.asarray(pc.equal(whole(light["status"]), pa.scalar("error", pa.string()))).astype(np.int64),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        **parts,
        "cost_usd": usage.cost_pico_usd,
        "given_cost_usd": np.where(counts, pico_usd(given), 0),
        "cost_difference_usd": np.where(has_both, pico_usd(given) - pico_usd(cost), 0),
        "unpriced": usage.unpriced.astype(np.int64),
        "timed": _valid(duration).astype(np.int64),
        "duration_ns": took,
        "generated_tokens": np.where(generates, usage.output_tokens, 0),
        "generating_ns": np.where(generates, took, 0),
    }


def _merged(pieces: pa.Table) -> pa.Table | None:
    """Join the cells of several pieces that are the same. None if a sum might overflow."""
    codes = [_codes(pieces["project"]), numbers(pieces, "window"), *(_codes(pieces[name]) for name in DIMENSIONS)]
    order, first = _groups(_joint(codes))
    sums = {name: pico_usd(whole(pieces[name])) if name in _COSTS else numbers(pieces, name) for name in SUMS}
    if any(float(np.abs(values).astype(np.float64).sum()) > _SAFE for values in sums.values()):
        return None
    if len(first) == len(pieces):
        return pieces
    heads = pieces.select(["project", "window", *DIMENSIONS]).take(pa.array(order[first]))
    arrays: dict[str, Any] = {name: heads[name] for name in heads.column_names}
    arrays |= {name: _summed(name, values[order], first) for name, values in sums.items()}
    arrays["first_ns"] = pa.array(np.minimum.reduceat(numbers(pieces, "first_ns")[order], first))
    arrays["last_ns"] = pa.array(np.maximum.reduceat(numbers(pieces, "last_ns")[order], first))
    cell = np.empty(len(order), np.int64)
    cell[order] = np.repeat(np.arange(len(first)), np.diff(first, append=len(order)))
    for name in LISTS:
        lists = whole(pieces[name])
        values = lists.flatten().to_numpy().astype(np.int64)
        owner = np.repeat(cell, np.diff(lists.offsets.to_numpy()))
        # Traces of different pieces are different: a piece ends where a trace does.
        arrays[name] = _list(owner, values, np.ones(len(values), np.bool_), len(first)).cast(ROLLUP.field(name).type)
    return pa.table([arrays[f.name] for f in ROLLUP], schema=ROLLUP)


def _codes(column: pa.ChunkedArray) -> Int64s:
    """Number the values of a text column, null among them."""
    values = whole(column)
    if values.null_count == len(values):
        return np.zeros(len(values), np.int64)
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    codes: Int64s = values.indices.fill_null(-1).to_numpy().astype(np.int64) + 1
    return codes


def _joint(codes: list[Int64s]) -> Int64s:
    """Return numbers that are equal where all of ``codes`` are."""
    joint = np.zeros(len(codes[0]), np.int64)
    size = 1
    for code in codes:
        values = _different(code)
        if len(values) == 1:
            continue
        if size * len(values) > 1 << 62:
            joint = np.unique(joint, return_inverse=True)[1]
            size = int(joint.max()) + 1
        joint = joint * len(values) + values.searchsorted(code)
        size *= len(values)
    return joint


def _different(values: Int64s) -> Int64s:
    ordered = np.sort(values)
    different: Int64s = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    return different


def _groups(codes: Int64s) -> tuple[Int64s, Int64s]:
    """Return an order in which equal codes are neighbours, and where each begins in it."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    return order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def _list(cell: Int64s, values: Int64s, valid: Bools, cells: int) -> pa.Array:
    """Return a list a cell of its valid values, ascending."""
    if not valid.all():
        cell, values = cell[valid], values[valid]
    order = np.lexsort((values, cell))
    return pa.ListArray.from_arrays(pa.array(_offsets(cell, cells)), pa.array(values[order]))


def _distinct(cell: Int64s, values: Int64s, cells: int) -> pa.Array:
    """Return a list a cell of its different values, which are not negative, ascending."""
    base = int(values.max()) + 1
    pairs = _different(cell * base + values)
    return pa.ListArray.from_arrays(
        pa.array(_offsets(pairs // base, cells)), pa.array((pairs % base).astype(np.uint32))
    )


def _offsets(cell: Int64s, cells: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=cells))]).astype(np.int32)


def _filled(column: pa.Array) -> Int64s:
    filled: Int64s = column.fill_null(0).to_numpy()
    return filled


def _valid(column: pa.Array) -> Bools:
    return np.asarray(column.is_valid())
