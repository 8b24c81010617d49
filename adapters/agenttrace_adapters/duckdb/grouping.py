"""What rows are grouped by, as expressions: a bucket of time, dimensions as text, and whether it is the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.fields import Parameters, Type, field_sql
from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Field
from agenttrace_core.query.buckets import uniform_ns
from agenttrace_core.schema.arrays import Int64s

START = "coalesce(start_ns, received_ns)"
"""Where a span stands in time."""

_MOST_SLOTS = 4_000_000


@dataclass(frozen=True, slots=True)
class Grouping:
    """The keys of an answer's rows.

    Attributes:
        dimensions: what else than time; columns ``dim0`` and so on.
        edges: of the buckets, if there are any; column ``bucket_ns``.
        groups: those that have rows of their own, if not all have; the others are one, and ``other`` is true of it.
    """

    dimensions: tuple[Field, ...]
    edges: Int64s | None
    groups: tuple[tuple[str | None, ...], ...] | None

    @property
    def dims(self) -> list[str]:
        """The columns of the dimensions."""
        return [f"dim{i}" for i in range(len(self.dimensions))]

    @property
    def keys(self) -> list[str]:
        """The columns that tell groups apart."""
        return [*(() if self.edges is None else ("bucket_ns",)), *self.dims, "other"]

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection know the tables that ``grouped`` speaks of."""
        if self.groups is not None:
            columns = list(zip(*self.groups, strict=True)) or [()] * len(self.dimensions)
            texts = {dim: pa.array(list(values), pa.string()) for dim, values in zip(self.dims, columns, strict=True)}
            connection.register("kept", pa.table({**texts, "kept": pa.array([True] * len(self.groups), pa.bool_())}))
        if self.edges is not None and uniform_ns(self.edges) is None:
            connection.register("slots", _slots(self.edges))

    def grouped(self, rows: str, parameters: Parameters, where: str, *, bucketed: bool = True) -> str:
        """Return a SELECT of the keys and all columns of ``rows`` (a SELECT of light rows) that satisfy ``where``."""
        dims = [f"{_dimension(field, parameters)} AS dim{i}" for i, field in enumerate(self.dimensions)]
        buckets = self.edges is not None and bucketed
        if buckets and self.edges is not None:
            dims.append(f"{_bucket(self.edges)} AS bucket_ns")
        listed = "".join(f"{dim}, " for dim in dims)
        statement = f"SELECT {listed}* FROM ({rows}) WHERE {where}"  # noqa: S608 - our own expressions
        if buckets and self.edges is not None and uniform_ns(self.edges) is None:
            statement = f"SELECT g.* REPLACE (slots.bucket_ns AS bucket_ns) FROM ({statement}) g JOIN slots ON slots.slot = g.bucket_ns"  # noqa: S608, E501
        if self.groups is None:
            return f"SELECT *, FALSE AS other FROM ({statement})"  # noqa: S608
        alike = " AND ".join(f"g.{dim} IS NOT DISTINCT FROM kept.{dim}" for dim in self.dims) or "TRUE"
        own = ", ".join(f"CASE WHEN kept.kept THEN g.{dim} END AS {dim}" for dim in self.dims)
        replaced = f"* REPLACE ({own})" if own else "*"
        columns = f"{replaced.replace('*', 'g.*', 1)}, kept.kept IS NULL AS other"
        return f"SELECT {columns} FROM ({statement}) g LEFT JOIN kept ON {alike}"  # noqa: S608


def _dimension(field: Field, parameters: Parameters) -> str:
    found = field_sql(field, parameters)
    match found.type:
        case Type.TEXT | Type.ATTRIBUTE:
            return found.sql
        case Type.TEXTS:
            # A span with several is in several groups, and one with none in the group of none.
            return f"unnest(CASE WHEN len({found.sql}) > 0 THEN list_distinct({found.sql}) ELSE [NULL] END)"
        case Type.BOOLEAN:
            return f"CASE {found.sql} WHEN TRUE THEN 'true' WHEN FALSE THEN 'false' END"
        case _:
            return f"({found.sql})::VARCHAR"


def _bucket(edges: Int64s) -> str:
    """Return the bucket of a row, or where the clock makes some longer than others, the slot that it lies in."""
    first, length = int(edges[0]), uniform_ns(edges)
    if length is None:
        return f"({START} - ({first})) // {_slot_ns(edges)}"
    return f"({START} - ({first})) // {length} * {length} + ({first})"


def _slot_ns(edges: Int64s) -> int:
    return int(np.gcd.reduce(np.diff(edges)))


def _slots(edges: Int64s) -> pa.Table:
    """Return the bucket of every slot: pieces of time that divide every bucket."""
    slot = _slot_ns(edges)
    counts = np.diff(edges) // slot
    if counts.sum() > _MOST_SLOTS:
        raise InvalidInputError("bucket: in this time zone, ask for one that divides a day, or for a shorter time")
    return pa.table({"slot": np.arange(counts.sum()), "bucket_ns": np.repeat(edges[:-1], counts)})


def ordered(dims: Sequence[str], order: str, *, bucketed: bool) -> str:
    """Return the ORDER BY of an answer: by bucket, then ``order`` descending, then dimensions, null last."""
    by = [*(("bucket_ns",) if bucketed else ()), f"{order} DESC NULLS LAST", *(f"{dim} NULLS LAST" for dim in dims)]
    return f"ORDER BY {', '.join(by)}, other"
