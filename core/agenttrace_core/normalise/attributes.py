"""A decoded batch as the rules see it: attributes end to end, and what else a rule may ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.schema.arrays import Bools, Int32s, Int64s
from agenttrace_core.wire.quality import Flags

NOWHERE: Int64s = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Attributes:
    """Attributes end to end: ``row`` is the span (or resource) that each belongs to, ascending.

    ``keys`` has each different key once; ``key`` says which of them each attribute's is.
    """

    keys: pa.BinaryArray
    key: Int32s
    values: pa.StructArray
    row: Int64s

    @classmethod
    def of(cls, lists: pa.ListArray) -> Attributes:
        """Flatten a list of OTLP ``KeyValue`` a row. A row whose list is null has none."""
        pairs = lists.flatten()
        encoded = pairs.field("key").dictionary_encode()
        row = np.asarray(pc.list_parent_indices(lists))
        return cls(encoded.dictionary, encoded.indices.to_numpy(), pairs.field("value"), row)

    def keys_of(self, row: int) -> frozenset[str]:
        """Return the keys of one row's attributes."""
        first, last = np.searchsorted(self.row, (row, row + 1)).tolist()
        return frozenset(self.names_at(np.arange(first, last)))

    def names_at(self, where: Int64s) -> list[str]:
        """Return the keys of some attributes."""
        return [key.decode("utf-8", "replace") for key in self.keys.take(pa.array(self.key[where])).to_pylist()]

    def begin_with(self, prefix: str) -> Bools:
        """Mark the attributes whose keys begin so."""
        marked: Bools = np.asarray(pc.starts_with(self.keys, prefix))[self.key]
        return marked

    def find(self, names: tuple[str, ...]) -> dict[str, Int64s]:
        """Return where each of ``names`` that is there at all occurs, ascending."""
        codes = pc.index_in(self.keys, value_set=_key_set(names))
        # numpy sorts 16-bit numbers by radix, many times faster than wider ones.
        code = codes.fill_null(-1).to_numpy().astype(np.int16)[self.key]
        order = np.argsort(code, kind="stable")
        bounds = np.searchsorted(code[order], np.arange(len(names) + 1))
        return {name: order[bounds[i] : bounds[i + 1]] for i, name in enumerate(names) if bounds[i] < bounds[i + 1]}


@lru_cache(maxsize=8)
def _key_set(names: tuple[str, ...]) -> pa.BinaryArray:
    return pa.array([name.encode() for name in names], pa.binary())


@dataclass(frozen=True, slots=True)
class Batch:
    """Spans, a row each, and the resources and scopes that they share.

    ``scopes`` has a name (or None) for each scope of the batch. ``raw`` holds the spans and
    ``raw_resources`` the resources as they were received; ``quality`` is changed in place.
    """

    spans: Attributes
    resources: Attributes
    resource_of_span: Int64s
    scopes: list[str | None]
    scope_of_span: Int64s
    names: pa.StringArray
    starts: pa.Int64Array
    failed: Bools
    raw: pa.BinaryArray
    raw_resources: pa.BinaryArray
    quality: Flags

    def __len__(self) -> int:
        return len(self.names)

    def in_scopes(self, prefixes: Iterable[str]) -> Bools:
        """Mark the rows whose scope's name begins with one of ``prefixes``."""
        starts = tuple(prefixes)
        of_scope = np.array([name is not None and name.startswith(starts) for name in self.scopes], np.bool_)
        marked: Bools = of_scope[self.scope_of_span]
        return marked
