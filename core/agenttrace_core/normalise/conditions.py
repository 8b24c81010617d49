"""What must hold of a span for a source to count, found for all spans of a batch at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.normalise import values
from agenttrace_core.normalise.attributes import NOWHERE, Batch
from agenttrace_core.normalise.rules import Source, When
from agenttrace_core.schema.arrays import Bools, Int64s


@dataclass(slots=True)
class Conditions:
    """Answers what conditions ask of a batch.

    ``found`` and ``found_resources`` say where attributes are, ``columns`` holds those that are filled so far.
    """

    batch: Batch
    found: Mapping[str, Int64s]
    found_resources: Mapping[str, Int64s]
    columns: Mapping[str, pa.Array]
    _scopes: set[str | None] = field(init=False)
    _masks: dict[When, Bools] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._scopes = set(self.batch.scopes)

    def may_give(self, source: Source) -> bool:
        """Whether any row can have a value from ``source``: a quick no for what a batch has nothing of."""
        if source.kind == "key":
            return source.name in self.found
        if source.kind == "resource":
            return source.name in self.found_resources
        when = source.when
        if when is None:
            return True
        if when.key is not None and when.key not in self.found:
            return False
        if when.has and self.found.keys().isdisjoint(when.has):
            return False
        return not when.scope or any(name is not None and name.startswith(when.scope) for name in self._scopes)

    def mask(self, when: When | None) -> Bools:
        """Mark the rows of which ``when`` holds."""
        if when is None:
            return np.ones(len(self.batch), np.bool_)
        if when not in self._masks or when.column is not None:
            self._masks[when] = self._hold(when)
        return self._masks[when]

    def _hold(self, when: When) -> Bools:
        mask = np.ones(len(self.batch), np.bool_)
        if when.scope:
            mask &= self.batch.in_scopes(when.scope)
        if when.key is not None:
            mask &= self._has_value(when.key, when.values)
        if when.column is not None:
            column = self.columns[when.column]
            mask &= np.asarray(pc.is_in(column, value_set=pa.array(when.values, pa.string())))
        if when.has:
            mask &= self._has_any(when.has)
        if when.lacks:
            mask &= ~self._has_any(when.lacks)
        return mask

    def _has_any(self, keys: tuple[str, ...]) -> Bools:
        mask = np.zeros(len(self.batch), np.bool_)
        for key in keys:
            mask[self.batch.spans.row[self.found.get(key, NOWHERE)]] = True
        return mask

    def _has_value(self, key: str, allowed: tuple[str, ...]) -> Bools:
        where = self.found.get(key, NOWHERE)
        mask = np.zeros(len(self.batch), np.bool_)
        found = values.texts(self.batch.spans.values, pa.array(where), np.zeros(len(where), np.uint16))
        meant = pc.is_in(pc.utf8_lower(found), value_set=pa.array(allowed, pa.string()))
        mask[self.batch.spans.row[where[np.asarray(meant)]]] = True
        return mask
