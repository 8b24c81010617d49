"""What the fields of a question are over light rows: expressions of ours, and what a caller named as parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto
from typing import TypeVar

import pyarrow as pa

from agenttrace_adapters.duckdb.scores import KEY, KnownScore, told
from agenttrace_core.errors import InvalidInputError, UnsupportedError
from agenttrace_core.model.algebra import Attribute, Column, Field
from agenttrace_core.model.span import UNENDED, Quality

_Entry = TypeVar("_Entry")

RESOURCE_PREFIX = "resource."
"""Stands before the keys of what sent a span, in the map of its attributes."""


class Type(Enum):
    """How the values of a field compare."""

    TEXT = auto()
    TEXTS = auto()
    """A list of texts, of which one must compare so."""
    INTEGER = auto()
    MONEY = auto()
    BOOLEAN = auto()
    ATTRIBUTE = auto()
    """Text, which is a number where it reads as one."""


@dataclass(frozen=True, slots=True)
class SqlField:
    """An expression over light rows, null where the span has no value.

    ``first_of`` are two columns, where it is the first of them that has a value: a comparison of either can be
    decided by what a file's dictionaries hold, and none of the expression.
    """

    sql: str
    type: Type
    first_of: tuple[str, str] | None = None


@dataclass(slots=True)
class Parameters:
    """What a statement is given beside its text: nothing that a caller wrote is ever a part of that text."""

    values: dict[str, str | int | float | bool | Decimal] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    """To be registered with the connection that runs the statement."""

    def bind(self, value: str | float | bool | Decimal) -> str:
        """Keep a value, and return the name under which the statement has it."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"${name}"

    def add(self, table: pa.Table) -> str:
        """Keep a table, and return the name under which the statement has it."""
        name = f"given{len(self.tables)}"
        self.tables[name] = table
        return name


def _texts(*names: str) -> dict[str, SqlField]:
    return {name: SqlField(name, Type.TEXT) for name in names}


def _first_of(first: str, second: str) -> SqlField:
    return SqlField(f"coalesce({first}, {second})", Type.TEXT, (first, second))


def _integers(*names: str) -> dict[str, SqlField]:
    return {name: SqlField(name, Type.INTEGER) for name in names}


_FLAGS = "[" + ", ".join(f"CASE WHEN quality & {int(q)} <> 0 THEN '{str(q.name).lower()}' END" for q in Quality) + "]"

_COLUMNS: Mapping[str, SqlField] = {
    **_texts(
        "trace_id", "span_id", "parent_span_id", "name", "kind", "service", "scope", "status", "status_message",
        "operation", "provider", "model", "tool", "environment", "version", "prompt", "prompt_version", "error_type",
        "error_group",
    ),
    **_integers(
        "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
        "input_audio_tokens", "output_audio_tokens",
    ),
    "agent": _first_of("context_agent", "agent"),
    "session_id": _first_of("context_session_id", "session_id"),
    "user_id": _first_of("context_user_id", "user_id"),
    "total_tokens": SqlField(
        "CASE WHEN input_tokens IS NOT NULL OR output_tokens IS NOT NULL "
        "THEN coalesce(input_tokens, 0)::HUGEINT + coalesce(output_tokens, 0) END",
        Type.INTEGER,
    ),
    "cost_usd": SqlField("cost_usd", Type.MONEY),
    "given_cost_usd": SqlField("given_cost_usd", Type.MONEY),
    "counted": SqlField("counted", Type.BOOLEAN),
    "duration": SqlField("duration_ns", Type.INTEGER),
    "time_to_first_chunk": SqlField("time_to_first_chunk_ns", Type.INTEGER),
    "start": SqlField("coalesce(start_ns, received_ns)", Type.INTEGER),
    "tag": SqlField("tags", Type.TEXTS),
    "quality": SqlField(f"list_filter({_FLAGS}, lambda flag: flag IS NOT NULL)", Type.TEXTS),
    "state": SqlField(f"CASE WHEN quality & {int(UNENDED)} <> 0 THEN 'running' ELSE 'complete' END", Type.TEXT),
    "input": SqlField("input_preview", Type.TEXT),
    "output": SqlField("output_preview", Type.TEXT),
}  # fmt: skip

_ALIASES = {
    "session": "session_id", "user": "user_id", "cost": "cost_usd", "ttfc": "time_to_first_chunk",
    "duration_ns": "duration", "time_to_first_chunk_ns": "time_to_first_chunk", "start_ns": "start", "tags": "tag",
    "input_preview": "input", "output_preview": "output",
}  # fmt: skip


def field_sql(asked: Field, parameters: Parameters) -> SqlField:
    """Return the expression of a field.

    Raises:
        InvalidInputError: there is no such column.
        UnsupportedError: it is a score that has not been looked up.
    """
    if isinstance(asked, Column):
        return canonical(_COLUMNS, asked.name)
    if isinstance(asked, Attribute):
        return SqlField(f"attributes[{parameters.bind(map_key(asked))}]", Type.ATTRIBUTE)
    if isinstance(asked, KnownScore):
        own, of_traces = (parameters.add(table) for table in told(asked))
        # Names that no column of spans has, as these are looked up from within a row of them.
        return SqlField(
            f"CASE WHEN {KEY} IN (SELECT key FROM {own}) THEN (SELECT told FROM {own} WHERE key = {KEY}) "  # noqa: S608 - our own names
            f"ELSE (SELECT told FROM {of_traces} WHERE key = trace_id) END",
            Type.TEXT,
        )
    raise UnsupportedError("scores are kept apart from spans: they have to be looked up before")


def canonical(fields: Mapping[str, _Entry], name: str) -> _Entry:
    """Look a canonical field up by its public name, or an alias of it.

    Raises:
        InvalidInputError: there is none of that name.
    """
    found = fields.get(_ALIASES.get(name, name))
    if found is None:
        raise InvalidInputError(
            f"no field {name!r}: the fields are {', '.join(sorted(fields))}, attr.KEY, resource.KEY"
        )
    return found


def map_key(asked: Attribute) -> str:
    """Return the key of an attribute in the map of light rows."""
    return f"{RESOURCE_PREFIX}{asked.key}" if asked.resource else asked.key
