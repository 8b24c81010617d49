"""Dimensions of an answer: how many there may be, and how their columns are called."""

from __future__ import annotations

from collections.abc import Sequence

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Field, Measure
from agenttrace_core.query.fields import is_dimension, name_of

MAX_DIMENSIONS = 3

_OWN = frozenset({"bucket", "bucket_ns", "other", *Measure})


def dimension_names(group_by: Sequence[Field]) -> tuple[str, ...]:
    """Return the names of the columns that the dimensions of an answer have.

    Raises:
        InvalidInputError: there are too many, one is there twice, or is nothing to group by.
    """
    names = tuple(name_of(field) for field in group_by)
    if len(names) > MAX_DIMENSIONS:
        raise InvalidInputError(f"group_by: at most {MAX_DIMENSIONS} dimensions, not {len(names)}")
    for field, name in zip(group_by, names, strict=True):
        if names.count(name) > 1:
            raise InvalidInputError(f"group_by: {name[:80]!r} is there twice")
        if name in _OWN or not is_dimension(field):
            raise InvalidInputError(f"group_by: {name!r} is no dimension, but what is measured or told of one span")
    return names
