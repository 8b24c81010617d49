"""The tables of fields in the documentation, made from the registry: ``python -m tests.unit.docs.fields_table``."""

from __future__ import annotations

from collections.abc import Iterable

from agenttrace_core.query.fields import FIELDS, TRACE_FIELDS, FieldInfo, FieldType

HEAD = "| field | values | |\n|---|---|---|"


def span_table() -> str:
    """Return the table of the fields of spans in Markdown."""
    return _table(FIELDS.values())


def trace_table() -> str:
    """Return the table of the fields of traces."""
    return _table(TRACE_FIELDS.values())


def _table(fields: Iterable[FieldInfo]) -> str:
    return "\n".join([HEAD, *(f"| {_names(field)} | {_values(field)} | {field.doc} |" for field in fields)])


def _names(field: FieldInfo) -> str:
    return ", ".join(f"`{name}`" for name in (field.name, *field.aliases))


def _values(field: FieldInfo) -> str:
    if field.values:
        listed = ", ".join(f"`{value}`" for value in field.values)
        return f"some of {listed}" if field.type is FieldType.LIST else listed
    return "several texts" if field.type is FieldType.LIST else field.type.value


if __name__ == "__main__":
    print(span_table(), trace_table(), sep="\n\n")
