"""Runs the catalog's statements on a connection of asyncpg."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from agenttrace_adapters.sql import Many, Now, Rows, Statement, Steps

Clock: TypeAlias = Callable[[], int]

T = TypeVar("T")

_NOW = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint * 1000"


async def run(connection: PoolConnectionProxy[asyncpg.Record], steps: Steps[T], clock: Clock | None) -> T:
    """Execute the statements of ``steps`` one after the other, and return what they end in."""
    try:
        statement = next(steps)
        while True:
            statement = steps.send(await _execute(connection, statement, clock))
    except StopIteration as end:
        result: T = end.value
        return result


async def _execute(connection: PoolConnectionProxy[asyncpg.Record], statement: Statement, clock: Clock | None) -> Rows:
    if isinstance(statement, Now):
        return [(clock() if clock else await connection.fetchval(_NOW),)]
    if isinstance(statement, Many):
        if statement.each:
            await connection.executemany(_numbered(statement.sql), [_storable(values) for values in statement.each])
        return []
    records = await connection.fetch(_numbered(statement.sql), *_storable(statement.values))
    return [tuple(record) for record in records]


@cache
def _numbered(sql: str) -> str:
    """Write each ``?`` as ``$1``, ``$2``, … No text of the catalog's statements holds another one."""
    head, *tail = sql.split("?")
    return head + "".join(f"${number}{text}" for number, text in enumerate(tail, 1))


def _storable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_text(value) if isinstance(value, str) else value for value in values)


def _text(text: str) -> str:
    """Replace what PostgreSQL has no place for in a text: the null character, and halves of surrogate pairs."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
