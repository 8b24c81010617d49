"""Dimensions by name: how the columns of an answer are called, and what may be grouped by."""

from __future__ import annotations

from collections.abc import Sequence

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Attribute, Column, Field, Measure

MAX_DIMENSIONS = 3

_OWN = frozenset({"bucket", "bucket_ns", "other", *Measure})


def name_of(field: Field) -> str:
    """Return a field's name as it is written in a query: ``model``, ``attr.KEY``, ``resource.KEY``, ``score.NAME``."""
    if isinstance(field, Column):
        return field.name
    if isinstance(field, Attribute):
        return f"resource.{field.key}" if field.resource else f"attr.{field.key}"
    return f"score.{field.name}"


def dimension_names(group_by: Sequence[Field]) -> tuple[str, ...]:
    """Return the names of the columns that the dimensions of an answer have.

    Raises:
        InvalidInputError: there are too many, one is there twice, or it is what is measured.
    """
    names = tuple(name_of(field) for field in group_by)
    if len(names) > MAX_DIMENSIONS:
        raise InvalidInputError(f"group_by: at most {MAX_DIMENSIONS} dimensions, not {len(names)}")
    for name in names:
        if names.count(name) > 1:
            raise InvalidInputError(f"group_by: {name[:80]!r} is there twice")
        if name in _OWN:
            raise InvalidInputError(f"group_by: {name!r} is what is measured, and no dimension")
    return names
