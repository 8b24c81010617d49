"""The attributes of a file's spans as columns of their own, beside the map that its light rows hold them in.

To find a span by an attribute in a map, an engine has to decode every attribute of every span. So a
file has one more object, in Parquet and with the same row numbers, in which each of its commonest keys
has a column of texts. A column is named by a hash of its key, for keys are other people's texts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from agenttrace_core.schema.arrays import Int64s

IN_PAYLOAD = "\0" * 257
"""Stands for a value that only the payload has. No value of the map is as long."""

MAX_COLUMNS = 128
_GROUP_ROWS = 1 << 16
_LEVEL = 1
_SAMPLE_ROWS = 4_096
_FALSE_POSITIVES = 0.05
_MAX_NAMED = 4_096
_KEYS, _REST = "agenttrace.keys", "agenttrace.rest"
_IN_PAYLOAD = pa.scalar(IN_PAYLOAD, pa.string())


def column_of(key: str) -> str:
    """Return the name of a key's column."""
    return f"a{xxhash.xxh64_hexdigest(key.encode())}"


@dataclass(frozen=True, slots=True)
class AttributeKeys:
    """Which keys a file's spans have: those that have columns, and the others; None if those are too many to name."""

    columns: tuple[str, ...]
    rest: tuple[str, ...] | None

    @classmethod
    def read(cls, footer: pq.FileMetaData) -> AttributeKeys:
        """Read them from the footer of a file's object."""
        told = footer.metadata or {}
        rest = json.loads(told[_REST.encode()])
        return cls(tuple(json.loads(told[_KEYS.encode()])), None if rest is None else tuple(rest))

    def may_have(self, key: str) -> bool:
        """Whether some span may have it."""
        return self.rest is None or key in self.columns or key in self.rest


class AttributeColumnsWriter:
    """Writes a file's attributes piece by piece.

    Args:
        stream: where to.
        keys: what gets columns; by default the commonest keys of the first piece.
    """

    def __init__(self, stream: pa.NativeFile, keys: Sequence[str] | None = None) -> None:
        self._stream = stream
        self._keys = None if keys is None else list(keys)[:MAX_COLUMNS]
        self._rest: set[str] = set()
        self._writer: pq.ParquetWriter | None = None

    def write(self, attributes: pa.Array) -> None:
        """Append the attributes of some spans."""
        found = _Found.of(attributes)
        if self._keys is None:
            self._keys = found.commonest(MAX_COLUMNS)
        if len(self._rest) <= _MAX_NAMED:
            self._rest.update(set(found.places) - set(self._keys))
        columns = {column_of(key): found.column(key) for key in self._keys}
        # Without any key there is still a row for each span, by which rows are told apart from files without.
        table = pa.table(columns or {"none": pa.nulls(len(attributes), pa.string())})
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._stream, table.schema, compression="zstd", compression_level=_LEVEL, store_schema=False,
                bloom_filter_options=_blooms(table),
            )  # fmt: skip
        self._writer.write_table(table, row_group_size=_GROUP_ROWS)

    def close(self) -> None:
        """Write what is known of the keys. At least one piece was written."""
        assert self._writer is not None, "write() comes first"
        rest = sorted(self._rest) if len(self._rest) <= _MAX_NAMED else None
        self._writer.add_key_value_metadata({_KEYS: json.dumps(self._keys), _REST: json.dumps(rest)})
        self._writer.close()


def attribute_column(attributes: pa.Array, key: str) -> pa.Array:
    """Return the values of one key of some maps, as the key's column has them."""
    offsets = np.asarray(attributes.offsets).astype(np.int64)
    first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    keys, items = attributes.keys.slice(first, count), attributes.items.slice(first, count)
    place = np.flatnonzero(np.asarray(pc.equal(keys.dictionary, pa.scalar(key, pa.string())))[keys.indices.to_numpy()])
    row = np.searchsorted(offsets - first, place, side="right") - 1
    return _values(items, len(attributes), row, place)


def read_attribute_keys(source: pa.NativeFile) -> AttributeKeys:
    """Read which keys a file's object has."""
    return AttributeKeys.read(pq.ParquetFile(source).metadata)


def common_keys(files: Sequence[AttributeKeys]) -> list[str]:
    """Return what should have columns in a file made of others: first what has one in the most of them."""
    count: dict[str, int] = {}
    for file in files:
        for key in file.columns:
            count[key] = count.get(key, 0) + 1
    return sorted(count, key=lambda key: -count[key])


def _blooms(table: pa.Table) -> dict[str, dict[str, float]]:
    """Return the options of blooms for columns of ids, which no dictionary tells the absence of a value from."""
    size = min(len(table), _GROUP_ROWS)
    sample = table.slice(0, _SAMPLE_ROWS)
    return {
        name: {"ndv": size, "fpp": _FALSE_POSITIVES}
        for name in table.column_names
        if pc.count_distinct(sample[name]).as_py() * 2 > len(sample)
    }


@dataclass(frozen=True, slots=True)
class _Found:
    """Where the attributes of some spans are: by key, the places of its values, and of which span each is."""

    attributes: pa.Array
    items: pa.Array
    row: Int64s
    places: dict[str, Int64s]

    @classmethod
    def of(cls, attributes: pa.Array) -> _Found:
        keys, items = attributes.keys, attributes.items
        offsets = np.asarray(attributes.offsets).astype(np.int64)
        # Of a slice, the keys are those of the whole array.
        first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
        keys, items = keys.slice(first, count), items.slice(first, count)
        row = np.repeat(np.arange(len(attributes)), np.diff(offsets))
        encoded = keys.dictionary_encode()
        names: list[str] = encoded.dictionary.to_pylist()
        codes = encoded.indices.to_numpy()
        # Of 16 bits, they are sorted in time that only grows with their number.
        order = np.argsort(codes.astype(np.uint16) if len(names) < 1 << 16 else codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(names)))
        places = np.split(order, ends[:-1]) if names else []
        # A dictionary may hold more keys than these maps have.
        found = {name: place for name, place in zip(names, places, strict=True) if len(place)}
        return cls(attributes, items, row, found)

    def commonest(self, count: int) -> list[str]:
        return sorted(self.places, key=lambda key: -len(self.places[key]))[:count]

    def column(self, key: str) -> pa.Array:
        """Return the values of a key, an item a span."""
        place = self.places.get(key)
        if place is None:
            return pa.nulls(len(self.attributes), pa.string())
        return _values(self.items, len(self.attributes), self.row[place], place)


def _values(items: pa.Array, size: int, row: Int64s, place: Int64s) -> pa.Array:
    """Return an item a span: that at ``place`` for the span at ``row``; of several of one span, the first."""
    of = np.full(size, -1)
    of[row[::-1]] = place[::-1]
    has = of >= 0
    values = items.take(pa.array(of, mask=~has))
    if values.null_count == size - np.count_nonzero(has):
        return values
    return pc.if_else(pa.array(has), pc.coalesce(values, _IN_PAYLOAD), values)
