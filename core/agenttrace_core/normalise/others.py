"""All attributes of a span in one map, as text, so that any of them can be searched for and shown.

What is long or nested stays in the payload alone: its key has no value here, and the row says that there is more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.normalise.attributes import Attributes, Batch
from agenttrace_core.schema.arrays import Bools, Int64s
from agenttrace_core.schema.keys import offsets_of
from agenttrace_core.wire.quality import Flags, as_text

MOST_BYTES = 256
"""A longer value is in the payload only, and so is all of an attribute with a longer key."""
_RESOURCE = pa.scalar(b"resource.", pa.binary())


@dataclass(frozen=True, slots=True)
class _Texts:
    """Keys of one level that are short, as bytes, and ``values[at[i]]`` for each, where that is short as well.

    ``at`` is negative where the payload alone has the value. ``row`` is whose each is, ``of_more`` who has more.
    """

    keys: pa.BinaryArray
    values: pa.BinaryArray
    at: Int64s
    row: Int64s
    of_more: Int64s

    @classmethod
    def of(cls, attributes: Attributes) -> _Texts:
        strings = attributes.values.field("string_value")
        numbers = [attributes.values.field(name) for name in ("int_value", "double_value", "bool_value")]
        is_short = np.asarray(strings.is_valid()) & (np.diff(offsets_of(strings)) <= MOST_BYTES)
        # Long texts are left where they are: copying them would cost more than all else.
        texts = np.flatnonzero(is_short)
        pieces, size = [strings.take(pa.array(texts))], len(texts)
        at = np.full(len(strings), -1, np.int64)
        at[texts] = np.arange(size)
        for other in numbers if strings.null_count else ():
            where = np.flatnonzero(np.asarray(other.is_valid()))
            pieces.append(other.take(pa.array(where)).cast(pa.string()).cast(pa.binary()))
            at[where] = size + np.arange(len(where))
            size += len(where)
        has_key = np.diff(offsets_of(attributes.keys)) <= MOST_BYTES
        keys = attributes.keys if has_key.all() else attributes.keys.filter(pa.array(has_key))
        more = attributes.row[(at < 0) | ~has_key]
        return cls(keys, pa.concat_arrays(pieces), at[has_key], attributes.row[has_key], more)


def attributes_map(batch: Batch) -> tuple[pa.Array, pa.Array]:
    """Return the column ``attributes``, and ``more_attributes``: whether some are in the payload alone.

    Attributes of the resource come after the span's own, with the prefix ``resource.``.
    """
    own, shared = _Texts.of(batch.spans), _Texts.of(batch.resources)
    rows = len(batch)
    mine = np.bincount(own.row, minlength=rows)
    per_resource = np.bincount(shared.row, minlength=len(batch.raw_resources))
    theirs = per_resource[batch.resource_of_span]
    ends = np.cumsum(mine + theirs)
    is_mine = np.zeros(ends[-1] if rows else 0, np.bool_)
    is_mine[np.arange(len(own.keys)) + np.repeat(np.cumsum(theirs) - theirs, mine)] = True
    first = (np.cumsum(per_resource) - per_resource)[batch.resource_of_span]
    nth = np.arange(theirs.sum()) + np.repeat(first - (np.cumsum(theirs) - theirs), theirs)
    keys, values = np.empty(len(is_mine), np.int64), np.empty(len(is_mine), np.int64)
    keys[is_mine], values[is_mine] = np.arange(len(own.keys)), own.at
    keys[~is_mine] = len(own.keys) + nth
    theirs_at = shared.at[nth]
    values[~is_mine] = np.where(theirs_at < 0, -1, len(own.values) + theirs_at)
    prefixed = pc.binary_join_element_wise(_RESOURCE, shared.keys, pa.scalar(b"", pa.binary()))
    bad = np.zeros(len(is_mine), np.uint16)
    key_texts = as_text(pa.concat_arrays([own.keys, prefixed]).take(pa.array(keys)), bad)
    texts = as_text(pa.concat_arrays([own.values, shared.values]).take(pa.array(values, mask=values < 0)), bad)
    _mark(batch.quality, bad, mine + theirs)
    offsets = pa.array(np.append(0, ends).astype(np.int32))
    more = _more(batch, own, shared)
    return pa.MapArray.from_arrays(offsets, key_texts, texts), pa.array(more)


def _more(batch: Batch, own: _Texts, shared: _Texts) -> Bools:
    of_resource = np.zeros(len(batch.raw_resources), np.bool_)
    of_resource[shared.of_more] = True
    more: Bools = of_resource[batch.resource_of_span]
    more[own.of_more] = True
    return more


def _mark(quality: Flags, bad: Flags, lengths: Int64s) -> None:
    if bad.any():
        rows = np.repeat(np.arange(len(lengths)), lengths)
        marked = np.flatnonzero(bad)
        np.bitwise_or.at(quality, rows[marked], bad[marked])
