"""What a generator of the catalog's SQL yields, and what it is sent back.

::

    def next_version() -> Steps[int]:
        ((version,),) = yield Query("UPDATE catalog SET version = version + 1 RETURNING version")
        return version

Generators call each other by ``yield from``. They know neither driver nor transaction: whoever
runs them executes each statement in order on one connection, within one transaction, and rolls
back where one raises.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Value: TypeAlias = str | int | bytes | None
Row: TypeAlias = tuple[Any, ...]
Rows: TypeAlias = Sequence[Row]


class Query:
    """One statement, answered by its rows. ``?`` in its text stands for each of the values, in order."""

    __slots__ = ("sql", "values")

    def __init__(self, sql: str, *values: Value) -> None:
        self.sql = sql
        self.values = values


class Many:
    """One statement for each of many tuples of values, answered by no rows."""

    __slots__ = ("each", "sql")

    def __init__(self, sql: str, each: Sequence[tuple[Value, ...]]) -> None:
        self.sql = sql
        self.each = each


class Now:
    """The catalog's clock, answered by one row with the nanoseconds since the epoch."""

    __slots__ = ()


NOW = Now()

Statement: TypeAlias = Query | Many | Now

Steps: TypeAlias = Generator[Statement, Rows, T]
"""Some statements that end in a ``T``."""
