"""Which version of a span counts, and the order of a trace's spans.

Identity and precedence are those of the span model: a span is (project, trace id, span id, OTel
kind, service, start); of its versions the one that has an end wins, then the later end, then
the later received time, then the greater (partition, offset, position). The order is total, so
that any order of delivery gives the same answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.span import UNENDED
from agenttrace_core.schema.arrays import Bools, Int64s, UInt64s, numbers, whole
from agenttrace_core.schema.keys import mixed, words_of_hex

ARRIVAL_COLUMNS = ("received_ns", "partition", "offset", "position")
"""What of ``SETTLE_COLUMNS`` it reads only where ``needs_arrival`` says so."""

SETTLE_COLUMNS = ("span_id", "kind", "service", "start_ns", "duration_ns", "quality", *ARRIVAL_COLUMNS)
"""What ``settle`` reads of ``LIGHT``."""


def settle(rows: pa.Table) -> pa.Table:
    """Take the rows of one trace, in any order; return the versions that count, ordered by (start, span id).

    ``rows`` holds ``SETTLE_COLUMNS`` among others, less those that ``needs_arrival`` does without.
    A span without a start stands where it was received. Spans that share start and id (Zipkin's two
    sides) are ordered by kind and service.
    """
    rows = rows.combine_chunks()
    span = words_of_hex(whole(rows["span_id"]), 8)[:, 0]
    start = effective_start(rows)
    order = np.lexsort((span, start))
    if _repeats(span):
        order = order[_winners(rows, [span])[order]]
        tied = (np.diff(span[order]) == 0) & (np.diff(start[order]) == 0)
        if tied.any():
            no_start = np.asarray(rows["start_ns"].is_null())
            rank = np.lexsort((no_start, _ranks(rows, "service"), _ranks(rows, "kind"), span, start))
            kept = np.zeros(len(span), np.bool_)
            kept[order] = True
            order = rank[kept[rank]]
    is_settled = len(order) == len(rows) and bool((order == np.arange(len(rows))).all())
    return rows if is_settled else rows.take(pa.array(order))


def needs_arrival(rows: pa.Table) -> bool:
    """Say whether ``settle`` needs to know of the rows when and where they were received.

    It hardly ever does: where ids differ and every span has a start, ``ARRIVAL_COLUMNS`` may be left out.
    """
    if rows["start_ns"].null_count:
        return True
    span = words_of_hex(whole(rows["span_id"]), 8)[:, 0]
    return _repeats(span)


def effective_start(rows: pa.Table) -> Int64s:
    """Return where each span stands in time: its start, or when it was received if it gave none."""
    start = whole(rows["start_ns"])
    if start.null_count:
        start = pc.coalesce(start, whole(rows["received_ns"]))
    placed: Int64s = start.to_numpy()
    return placed


def orphans(rows: pa.Table) -> Bools:
    """Return which spans of a whole trace name a parent that is not among them."""
    parents = whole(rows["parent_span_id"])
    named = np.asarray(parents.is_valid())
    lost = np.zeros(len(parents), np.bool_)
    if named.any():
        present = words_of_hex(whole(rows["span_id"]), 8)[:, 0]
        wanted = words_of_hex(parents.drop_null() if parents.null_count else parents, 8)[:, 0]
        lost[named] = ~np.isin(wanted, present)
    return lost


def winners(rows: pa.Table) -> Bools:
    """Mark, among rows of any projects and traces, for each identity the version that counts.

    ``rows`` holds ``SETTLE_COLUMNS``, ``project`` and ``trace_id``.
    """
    trace = words_of_hex(whole(rows["trace_id"]), 16)
    span = words_of_hex(whole(rows["span_id"]), 8)[:, 0]
    if not _repeats(mixed(trace[:, 0] ^ mixed(trace[:, 1] ^ mixed(span)))):
        return np.ones(len(rows), np.bool_)  # of equal ids there would be equal hashes
    rows = rows.select(["project", *SETTLE_COLUMNS]).combine_chunks()
    return _winners(rows, [_ranks(rows, "project"), trace[:, 0], trace[:, 1], span])


def _winners(rows: pa.Table, ids: list[np.ndarray[Any, Any]]) -> Bools:
    """Mark, for each identity, the version that counts; ``ids`` tells spans apart among these rows."""
    start = whole(rows["start_ns"])
    has_start = np.asarray(start.is_valid())
    identity = [*ids, _ranks(rows, "kind"), _ranks(rows, "service"), has_start, start.fill_null(0).to_numpy()]
    has_end = (numbers(rows, "quality") & np.uint16(UNENDED)) == 0
    # Within an identity starts are equal, so that the later end is the longer duration.
    duration = whole(rows["duration_ns"]).fill_null(np.iinfo(np.int64).min).to_numpy()
    arrival = [numbers(rows, name) for name in ("received_ns", "partition", "offset", "position")]
    order = np.lexsort([*reversed(arrival), duration, has_end, *identity])
    last = np.ones(len(order), np.bool_)
    last[:-1] = np.any([key[order][1:] != key[order][:-1] for key in identity], axis=0)
    wins = np.zeros(len(order), np.bool_)
    wins[order[last]] = True
    return wins


def _repeats(numbers: UInt64s) -> bool:
    ordered = np.sort(numbers)
    return bool((ordered[1:] == ordered[:-1]).any())


def _ranks(rows: pa.Table, name: str) -> Int64s:
    """Return numbers in the order of a text column's values, null first."""
    column = whole(rows[name])
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode(null_encoding="encode")
    texts = [("", "") if text is None else ("1", text) for text in encoded.dictionary.to_pylist()]
    rank = np.zeros(len(texts), np.int64)
    rank[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts))
    ranks: Int64s = rank[encoded.indices.to_numpy(zero_copy_only=False)]
    return ranks
