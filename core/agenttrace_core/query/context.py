"""Whose a span is: the agent, session and user that it names itself, else its nearest ancestor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.query.tree import Forest, TreeKeys, nearest
from agenttrace_core.schema.arrays import Int64s, UInt64s, whole
from agenttrace_core.schema.keys import hex_strings

OWN = ("agent", "session_id", "user_id")
"""The columns in which a span says it itself."""

CONTEXT = ("context_agent", "context_session_id", "context_user_id")
"""The columns in which it is resolved, in the same order."""

CONTEXT_COLUMNS = ("project", "trace_id", "span_id", "parent_span_id", *OWN)
"""What ``contexts_of`` reads of ``LIGHT``."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """The context of rows: texts in the order of ``CONTEXT``, and where the rest of it is to be sought (hex)."""

    names: tuple[pa.Array, ...]
    ref: pa.Array


def contexts_of(rows: pa.Table) -> Contexts:
    """Return the context of all rows of some traces, of any projects, in their order.

    ``rows`` holds ``CONTEXT_COLUMNS``. ``ref`` names the nearest ancestor that is not there, where something
    has not been found below it.
    """
    forest = Forest.of(TreeKeys.of(rows))
    own = [node_codes(whole(rows[name]), forest) for name in OWN]
    top, found = nearest(forest.parent, *(codes for _, codes in own))
    names = tuple(
        pc.coalesce(whole(rows[name]), taken(texts, codes[forest.node]))
        for name, (texts, _), codes in zip(OWN, own, found, strict=True)
    )
    wanting = np.logical_or.reduce([np.asarray(name.is_null()) for name in names])
    ref = np.where(wanting, forest.parent_id[top][forest.node], 0)
    return Contexts(names, hex_or_null(ref))


def taken(texts: pa.Array, codes: Int64s) -> pa.Array:
    """Return texts by number, null for -1."""
    return texts.take(pa.array(codes, mask=codes < 0))


def hex_or_null(span_ids: UInt64s) -> pa.Array:
    """Return span ids as hex; null for 0."""
    return hex_strings(span_ids.astype(">u8").view(np.uint8), 8, nulls=span_ids == 0)


def node_codes(column: pa.Array, forest: Forest) -> tuple[pa.Array, Int64s]:
    """Return a column's distinct texts, and of each node the number of its least one, -1 where it has none."""
    if column.null_count == len(column):
        return pa.array([], pa.string()), np.full(len(forest.keys), -1, np.int64)
    encoded = column.dictionary_encode()
    texts = pa.array(sorted(encoded.dictionary.to_pylist()), pa.string())
    codes = np.asarray(pc.index_in(column, value_set=texts).fill_null(len(texts))).astype(np.int64)
    least = np.full(len(forest.keys), len(texts), np.int64)
    np.minimum.at(least, forest.node, codes)
    return texts, np.where(least == len(texts), -1, least)
