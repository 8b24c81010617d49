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
    """Keys and values of one level as bytes: ``at[i]`` is where attribute ``i`` has its text in ``values``.

    It is negative where the payload alone has the value; ``more`` says so of those and of what is not ``kept`` at all.
    """

    keys: pa.BinaryArray
    values: pa.BinaryArray
    at: Int64s
    kept: Int64s
    more: Bools

    @classmethod
    def of(cls, attributes: Attributes) -> _Texts:
        strings = attributes.values.field("string_value")
        at = np.arange(len(strings))
        pieces, size = [strings], len(strings)
        is_text = np.asarray(strings.is_valid())
        is_short = is_text & (np.diff(offsets_of(strings)) <= MOST_BYTES)
        if not is_text.all():
            for name in ("int_value", "double_value", "bool_value"):
                other = attributes.values.field(name)
                where = np.flatnonzero(np.asarray(other.is_valid()))
                pieces.append(other.take(pa.array(where)).cast(pa.string()).cast(pa.binary()))
                at[where] = size + np.arange(len(where))
                size += len(where)
                is_short[where] = True
        has_key = np.diff(offsets_of(attributes.keys)) <= MOST_BYTES
        at[~is_short] = -1
        return cls(attributes.keys, pa.concat_arrays(pieces), at, np.flatnonzero(has_key), ~(is_short & has_key))


def attributes_map(batch: Batch) -> tuple[pa.Array, pa.Array]:
    """Return the column ``attributes``, and ``more_attributes``: whether some are in the payload alone.

    Attributes of the resource come after the span's own, with the prefix ``resource.``.
    """
    own, shared = _Texts.of(batch.spans), _Texts.of(batch.resources)
    rows = len(batch)
    mine = np.bincount(batch.spans.row[own.kept], minlength=rows)
    per_resource = np.bincount(batch.resources.row[shared.kept], minlength=len(batch.raw_resources))
    theirs = per_resource[batch.resource_of_span]
    ends = np.cumsum(mine + theirs)
    is_mine = np.zeros(ends[-1] if rows else 0, np.bool_)
    is_mine[np.arange(len(own.kept)) + np.repeat(np.cumsum(theirs) - theirs, mine)] = True
    first = (np.cumsum(per_resource) - per_resource)[batch.resource_of_span]
    nth = np.arange(theirs.sum()) + np.repeat(first - (np.cumsum(theirs) - theirs), theirs)
    keys, values = np.empty(len(is_mine), np.int64), np.empty(len(is_mine), np.int64)
    keys[is_mine], values[is_mine] = own.kept, own.at[own.kept]
    keys[~is_mine] = len(own.keys) + shared.kept[nth]
    theirs_at = shared.at[shared.kept][nth]
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
    of_resource[batch.resources.row[shared.more]] = True
    more: Bools = of_resource[batch.resource_of_span]
    more[batch.spans.row[own.more]] = True
    return more


def _mark(quality: Flags, bad: Flags, lengths: Int64s) -> None:
    if bad.any():
        rows = np.repeat(np.arange(len(lengths)), lengths)
        marked = np.flatnonzero(bad)
        np.bitwise_or.at(quality, rows[marked], bad[marked])
