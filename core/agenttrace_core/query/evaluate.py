"""Which light rows satisfy a span predicate: the meaning of the algebra, computed in columns.

What light rows can't decide (a long attribute, text in payloads) is asked of ``Payloads``. Without
them, it counts for what the caller says: for true, to find all rows that may satisfy a predicate, or
for false, to find those that surely do.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.errors import UnsupportedError
from agenttrace_core.model.algebra import (
    And,
    Attribute,
    Column,
    Compare,
    Contains,
    Field,
    Not,
    Op,
    Or,
    Present,
    Score,
    SpanPredicate,
    Value,
)
from agenttrace_core.query.compare import attribute_matches, boolean_matches, number_matches, text_matches
from agenttrace_core.query.fields import FIELDS, FieldInfo, FieldType, Form
from agenttrace_core.query.values import (
    FLAGS,
    attribute_texts,
    attribute_values,
    columns_of,
    flags_of,
    list_values,
    numbers_of,
    texts_of,
)
from agenttrace_core.schema.arrays import Bools, Int64s, whole
from agenttrace_core.schema.tables import SEARCHED

"""The columns in which free text is sought, beside the values of attributes."""


class Payloads(Protocol):
    """What light rows don't hold. Rows are numbers of those that a predicate is evaluated on."""

    @abstractmethod
    def contains(self, rows: Int64s, text: str) -> Bools:
        """Return which rows have ``text``, which is in lower case, in a text of their payload, whatever the case."""

    @abstractmethod
    def attribute(self, rows: Int64s, key: Attribute) -> Sequence[str | None]:
        """Return an attribute of each row as text, as in the map of light rows; None where there is none."""


class Scores(Protocol):
    """Evaluation results, which are kept apart from spans."""

    @abstractmethod
    def matches(self, rows: pa.Table, name: str, op: Op | None, value: Value | None) -> Bools:
        """Return which rows have a score of that name that compares so; of any value, with ``op`` None."""

    @abstractmethod
    def texts(self, rows: pa.Table, name: str) -> pa.Array:
        """Return the score of that name of each row as the text that rows are grouped by; null without one."""


def matches(
    rows: pa.Table,
    predicate: SpanPredicate,
    *,
    payloads: Payloads | None = None,
    scores: Scores | None = None,
    undecided: bool = False,
) -> Bools:
    """Return which of ``rows``, which hold the columns of ``needed_columns``, satisfy a predicate.

    Args:
        rows: light rows, of any traces and projects.
        predicate: what is asked.
        payloads: what they do not hold.
        scores: the scores of their spans and traces.
        undecided: without payloads, what a leaf counts for that only they could decide.

    Raises:
        InvalidInputError: a value can't be compared with its field, or a regular expression is none.
        UnsupportedError: scores are asked for, and not given.
    """
    return _Evaluation(rows, payloads, scores).of(predicate, undecided=undecided)


def needed_columns(predicate: SpanPredicate) -> set[str]:
    """Return the columns of ``LIGHT`` that a predicate is evaluated on."""
    match predicate:
        case And(of=parts) | Or(of=parts):
            return set().union(*map(needed_columns, parts))
        case Not(of=part):
            return needed_columns(part)
        case Contains():
            return {*SEARCHED, "attributes"}
        case Compare(field=field) | Present(field=field):
            return set(columns_of(field))


def lowered(text: str) -> str:
    """Return a text in lower case as columns are made: each character by itself."""
    lower: str = pc.utf8_lower(pa.scalar(text)).as_py()
    return lower


class _Evaluation:
    def __init__(self, rows: pa.Table, payloads: Payloads | None, scores: Scores | None) -> None:
        self._rows = rows
        self._payloads = payloads
        self._scores = scores

    def of(self, predicate: SpanPredicate, *, undecided: bool) -> Bools:
        match predicate:
            case And(of=parts):
                found = np.ones(len(self._rows), np.bool_)
                for part in parts:
                    found &= self.of(part, undecided=undecided)
                return found
            case Or(of=parts):
                found = np.zeros(len(self._rows), np.bool_)
                for part in parts:
                    found |= self.of(part, undecided=undecided)
                return found
            case Not(of=part):
                # What may be so is what is not surely otherwise.
                return ~self.of(part, undecided=not undecided)
            case Contains(text=text, payload=payload):
                return self._contains(text, payload=payload, undecided=undecided)
            case Present(field=field):
                return self._present(field)
            case Compare(field=field, op=op, value=value):
                return self._compared(field, op, value, undecided=undecided)

    # --- Fields ---

    def _present(self, field: Field) -> Bools:
        if isinstance(field, Score):
            return self._scored(field, None, None)
        if isinstance(field, Attribute):
            return attribute_texts(self._rows, field)[0]
        info = _known_field(field)
        if info.form is Form.FLAGS:
            return flags_of(self._rows, np.ones(len(FLAGS), np.bool_))
        if info.type is FieldType.LIST:
            return np.asarray(pc.greater(pc.list_value_length(whole(self._rows[info.columns[0]])), 0).fill_null(False))
        if info.type.ordered:
            return numbers_of(self._rows, info)[1]
        return np.asarray(texts_of(self._rows, info).is_valid())

    def _compared(self, field: Field, op: Op, value: Value, *, undecided: bool) -> Bools:
        if isinstance(field, Score):
            return self._scored(field, op, value)
        if isinstance(field, Attribute):
            return self._attribute(field, op, value, undecided=undecided)
        info = _known_field(field)
        if info.type is FieldType.LIST:
            return self._listed(info, op, _text(value))
        if info.type is FieldType.BOOLEAN:
            return boolean_matches(texts_of(self._rows, info), op, value)
        if info.type.ordered:
            money = info.type is FieldType.MONEY
            return number_matches(*numbers_of(self._rows, info), op, value, money=money)
        return text_matches(texts_of(self._rows, info), op, _text(value))

    def _listed(self, info: FieldInfo, op: Op, value: str) -> Bools:
        if info.form is Form.FLAGS:
            return flags_of(self._rows, text_matches(FLAGS, op, value))
        texts, row_of = list_values(self._rows, info)
        found = np.zeros(len(self._rows), np.bool_)
        found[row_of[text_matches(texts, op, value)]] = True
        return found

    def _attribute(self, field: Attribute, op: Op, value: Value, *, undecided: bool) -> Bools:
        has, texts = attribute_texts(self._rows, field)
        found = attribute_matches(texts, op, value)
        unknown = np.flatnonzero(has & np.asarray(texts.is_null()))
        if len(unknown) and self._payloads is not None:
            told = pa.array(self._payloads.attribute(unknown, field), pa.string())
            found[unknown] = attribute_matches(told, op, value)
        elif len(unknown):
            found[unknown] = undecided
        return found

    def _scored(self, field: Score, op: Op | None, value: Value | None) -> Bools:
        if self._scores is None:
            raise UnsupportedError(f"score.{field.name[:60]}: scores are not read here")
        return self._scores.matches(self._rows, field.name, op, value)

    # --- Free text ---

    def _contains(self, text: str, *, payload: bool, undecided: bool) -> Bools:
        sought = lowered(text)
        found = np.zeros(len(self._rows), np.bool_)
        for name in SEARCHED:
            found |= _holds(whole(self._rows[name]), sought)
        values, row_of = attribute_values(self._rows)
        found[row_of[_holds(values, sought)]] = True
        if not payload:
            return found
        rest = np.flatnonzero(~found)
        found[rest] = undecided if self._payloads is None else self._payloads.contains(rest, sought)
        return found


def _holds(texts: pa.Array, sought: str) -> Bools:
    return np.asarray(pc.match_substring(pc.utf8_lower(texts), sought).fill_null(False), np.bool_)


def _known_field(field: Column) -> FieldInfo:
    return FIELDS[field.name]


def _text(value: Value) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
