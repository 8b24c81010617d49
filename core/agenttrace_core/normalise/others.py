"""All attributes of a span in one map, as text, so that any of them can be searched for and shown.

What is long or nested stays in the payload alone: its key has no value here, and the row says that there is more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.normalise.attributes import Attributes, Batch
from agenttrace_core.schema.arrays import Bools, Int32s, Int64s
from agenttrace_core.schema.keys import offsets_of
from agenttrace_core.wire.quality import Flags, as_text

MOST_BYTES = 256
"""A longer value is in the payload only, and so is all of an attribute with a longer key."""
_RESOURCE = pa.scalar(b"resource.", pa.binary())


@dataclass(frozen=True, slots=True)
class _Texts:
    """Attributes of one level whose keys are short: the key of each by number, and ``values[at[i]]``, if short as well.

    ``at`` is negative where the payload alone has the value. ``row`` is whose each is, ``of_more`` who has more.
    """

    key: Int32s
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
        has_key = _are_short(attributes.keys)[attributes.key]
        more = attributes.row[(at < 0) | ~has_key]
        key, row = attributes.key, attributes.row
        if not has_key.all():
            key, at, row = key[has_key], at[has_key], row[has_key]
        return cls(key, pa.concat_arrays(pieces), at, row, more)


@dataclass(frozen=True, slots=True)
class _Keys:
    """Keys of spans, and after them those of resources with their prefix: as which of ``texts`` each is stored.

    ``bad`` says what is wrong with each. Of long ones both say nothing.
    """

    texts: pa.StringArray
    place: Int32s
    bad: Flags

    @classmethod
    def of(cls, own: pa.BinaryArray, shared: pa.BinaryArray) -> _Keys:
        prefixed = pc.binary_join_element_wise(_RESOURCE, shared, pa.scalar(b"", pa.binary()))
        is_short = np.concatenate([_are_short(own), _are_short(shared)])
        bad, place = np.zeros(len(is_short), np.uint16), np.zeros(len(is_short), np.int32)
        strange = np.zeros(int(is_short.sum()), np.uint16)
        encoded = as_text(pa.concat_arrays([own, prefixed]).filter(pa.array(is_short)), strange).dictionary_encode()
        bad[is_short], place[is_short] = strange, encoded.indices.to_numpy()
        return cls(encoded.dictionary, place, bad)

    def at(self, key: Int32s) -> pa.DictionaryArray:
        """Return the keys of these numbers."""
        return pa.DictionaryArray.from_arrays(self.place[key], self.texts)


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
    is_mine[np.arange(len(own.key)) + np.repeat(np.cumsum(theirs) - theirs, mine)] = True
    first = (np.cumsum(per_resource) - per_resource)[batch.resource_of_span]
    nth = np.arange(theirs.sum()) + np.repeat(first - (np.cumsum(theirs) - theirs), theirs)
    keys = _Keys.of(batch.spans.keys, batch.resources.keys)
    key, values = np.empty(len(is_mine), np.int32), np.empty(len(is_mine), np.int64)
    key[is_mine], values[is_mine] = own.key, own.at
    key[~is_mine] = len(batch.spans.keys) + shared.key[nth]
    theirs_at = shared.at[nth]
    values[~is_mine] = np.where(theirs_at < 0, -1, len(own.values) + theirs_at)
    bad = keys.bad[key]
    texts = as_text(pa.concat_arrays([own.values, shared.values]).take(pa.array(values, mask=values < 0)), bad)
    _mark(batch.quality, bad, mine + theirs)
    offsets = pa.array(np.append(0, ends).astype(np.int32))
    more = _more(batch, own, shared)
    return pa.MapArray.from_arrays(offsets, keys.at(key), texts), pa.array(more)


def _are_short(keys: pa.BinaryArray) -> Bools:
    short: Bools = np.diff(offsets_of(keys)) <= MOST_BYTES
    return short


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
