"""Span predicates as conditions of SQL over light rows.

A condition is made of our own expressions and of parameters. What light rows cannot decide (an
attribute that only the payload has, free text in payloads) is taken for true or for false, as the
caller asks: the first gives all spans that may satisfy a predicate, the second those that surely do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_adapters.duckdb.fields import Parameters, SqlField, Type, field_sql, map_key
from agenttrace_adapters.duckdb.scores import KEY, KnownScore, ScoreKeys
from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import (
    And,
    Attribute,
    Compare,
    Contains,
    Field,
    Not,
    Op,
    Or,
    Present,
    SpanPredicate,
    Value,
)
from agenttrace_core.schema.attribute_columns import IN_PAYLOAD, AttributeKeys, column_of
from agenttrace_core.schema.tables import SEARCHED

_TRUE, _FALSE = "TRUE", "FALSE"
_INT64, _MONEY_DIGITS, _MONEY_PLACES = 1 << 63, 18, 12
_NUMBER = r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_WHOLE_NUMBER = r"-?[0-9]{1,38}"
_EXACT = Context(prec=64)  # the default one rounds to 28 digits
_LEAST = Decimal("1e-40")
_MAX_EITHER_CASE = 200
_ALSO_LOWER_TO = {"i": "\u0130", "k": "\u212a"}
"""Letters outside of ASCII whose lower case is in it."""
_NOTHING = pa.array([""], pa.string())


def condition(
    predicate: SpanPredicate, parameters: Parameters, *, undecided: bool, keys: AttributeKeys | None = None
) -> str:
    """Return a condition that is true of the rows which satisfy ``predicate``, and false or null of others.

    ``undecided`` is what leaves count for, of the rows that light columns cannot decide them for. The condition
    is over light rows; with ``keys``, attributes are asked of columns, of which there are those and no other.

    Raises:
        InvalidInputError: a field does not exist, or a value cannot be compared with it.
        UnsupportedError: a score is asked for that has not been looked up.
    """
    compiler = _Compiler(parameters) if keys is None else _ColumnCompiler(parameters, keys)
    return compiler.condition(predicate, undecided=undecided)


def text_in_columns(text: str, parameters: Parameters) -> str:
    """Return the condition that a column of light rows, other than their attributes, holds a text."""
    return _Compiler(parameters).in_columns(text)


def text_in_attributes(text: str, parameters: Parameters) -> str:
    """Return the condition that the attributes of light rows hold a text."""
    return _Compiler(parameters).in_attributes(text)


def is_decided(predicate: SpanPredicate) -> bool:
    """Say whether light rows decide the predicate for every span, so that both conditions are one."""
    match predicate:
        case And(of) | Or(of):
            return all(is_decided(part) for part in of)
        case Not(of):
            return is_decided(of)
        case Contains(_, payload):
            return not payload
        case Compare(field, _, _):
            return not isinstance(field, Attribute)
        case Present(_):
            return True


def leaves(predicate: SpanPredicate) -> Iterable[Compare | Present | Contains]:
    """Iterate over what a predicate is made of."""
    match predicate:
        case And(of) | Or(of):
            for part in of:
                yield from leaves(part)
        case Not(of):
            yield from leaves(of)
        case _:
            yield predicate


def texts_of_all(predicate: SpanPredicate) -> list[str]:
    """Return texts that every span which satisfies a predicate holds in its light row."""
    match predicate:
        case And(of):
            return [text for part in of for text in texts_of_all(part)]
        case Contains(text, payload):
            return [] if payload else [text]
        case _:
            return []


@dataclass(frozen=True, slots=True)
class _Compiler:
    parameters: Parameters

    def condition(self, predicate: SpanPredicate, *, undecided: bool) -> str:
        match predicate:
            case And(of):
                return _joined("AND", (self.condition(p, undecided=undecided) for p in of), _TRUE)
            case Or(of):
                return _joined("OR", (self.condition(p, undecided=undecided) for p in of), _FALSE)
            case Not(of):
                # What may be so is what is not surely otherwise.
                return f"(({self.condition(of, undecided=not undecided)}) IS NOT TRUE)"
            case Contains(text, payload):
                return _TRUE if payload and undecided else self._contains(text)
            case Present(field):
                return self._present(field)
            case Compare(field, op, value):
                return self._compare(field, op, value, undecided=undecided)

    def _scored(self, score: KnownScore, op: Op | None, value: Value | None) -> str:
        keys = ScoreKeys.of(score, op, value)
        holding, own, traces = (self.parameters.add(table) for table in (keys.holding, keys.own, keys.traces))
        return (
            f"({KEY} IN (SELECT key FROM {holding}) OR "  # noqa: S608 - our own names
            f"(trace_id IN (SELECT key FROM {traces}) AND {KEY} NOT IN (SELECT key FROM {own})))"
        )

    def _present(self, field: Field) -> str:
        if isinstance(field, KnownScore):
            return self._scored(field, None, None)
        if isinstance(field, Attribute):
            return f"map_contains(attributes, {self.parameters.bind(map_key(field))})"
        found = field_sql(field, self.parameters)
        return f"len({found.sql}) > 0" if found.type is Type.TEXTS else f"{found.sql} IS NOT NULL"

    def _compare(self, field: Field, op: Op, value: Value, *, undecided: bool) -> str:
        if isinstance(field, KnownScore):
            return self._scored(field, op, value)
        found = field_sql(field, self.parameters)
        if not isinstance(field, Attribute):
            return self._comparison(found, op, value)
        known = self._comparison(found, op, value)
        if not undecided:
            return known
        key = self.parameters.bind(map_key(field))
        return f"({known} OR ({found.sql} IS NULL AND map_contains(attributes, {key})))"

    def _comparison(self, field: SqlField, op: Op, value: Value) -> str:
        if op in {Op.GLOB, Op.REGEX} or field.type in {Type.TEXT, Type.TEXTS}:
            if field.type in {Type.INTEGER, Type.MONEY, Type.BOOLEAN}:
                raise InvalidInputError(f"a pattern is for text, and {field.sql} is none")
            return self._text(field, op, _as_text(value))
        if field.type is Type.ATTRIBUTE:
            if isinstance(value, str | bool):
                return self._text(field, op, _as_text(value))
            return self._number(field.sql, op, value)
        if field.type is Type.BOOLEAN:
            if not isinstance(value, bool) or op is not Op.EQ:
                raise InvalidInputError(f"{field.sql} is true or false")
            return f"{field.sql} = {self.parameters.bind(value)}"
        if isinstance(value, str | bool):
            raise InvalidInputError(f"{field.sql} is a number, and {value!r} is none")
        places = _MONEY_PLACES if field.type is Type.MONEY else 0
        bound = 10**_MONEY_DIGITS if field.type is Type.MONEY else _INT64
        return self._exact(field.sql, op, value, places=places, bound=bound)

    def _text(self, field: SqlField, op: Op, value: str) -> str:
        if field.first_of is not None:
            first, second = (self._text_of(name, op, value) for name in field.first_of)
            return f"({first} OR ({field.first_of[0]} IS NULL AND {second}))"
        if field.type is not Type.TEXTS:
            return self._text_of(field.sql, op, value)
        if op is Op.EQ:
            return f"list_contains({field.sql}, {self.parameters.bind(value)})"
        return f"len(list_filter({field.sql}, lambda item: {self._text_of('item', op, value)})) > 0"

    def _text_of(self, sql: str, op: Op, value: str) -> str:
        if op is Op.REGEX:
            _check_regex(value)
            return f"regexp_matches({sql}, {self.parameters.bind(value)})"
        if op is Op.GLOB:
            return self._glob(sql, value)
        return f"{sql} {op.value} {self.parameters.bind(value)}"

    def _glob(self, sql: str, pattern: str) -> str:
        parts = pattern.split("*")
        if len(parts) == 1:
            return f"{sql} = {self.parameters.bind(pattern)}"
        if len(parts) == 2:
            begins = f"starts_with({sql}, {self.parameters.bind(parts[0])})"
            if not parts[1]:
                return begins
            ends = f"ends_with({sql}, {self.parameters.bind(parts[1])})"
            return f"({begins} AND {ends} AND length({sql}) >= {len(parts[0]) + len(parts[1])})"
        if len(parts) == 3 and not parts[0] and not parts[2]:
            return f"contains({sql}, {self.parameters.bind(parts[1])})"
        # Of many stars LIKE takes time beyond all bounds; RE2 never does.
        quoted = ".*".join("".join(map(_quoted, part)) for part in parts)
        return f"regexp_full_match({sql}, {self.parameters.bind(f'(?s){quoted}')})"

    def _number(self, sql: str, op: Op, value: int | Decimal) -> str:
        """Compare a text as a number, where it is one; whole numbers exactly, however long."""
        is_number = f"regexp_full_match({sql}, '{_NUMBER}')"
        about = f"TRY_CAST({sql} AS DOUBLE) {op.value} {self.parameters.bind(_as_double(value))}::DOUBLE"
        if _size(value) < 10**38 and value == int(value):
            exactly = f"TRY_CAST({sql} AS HUGEINT) {op.value} {self.parameters.bind(int(value))}::HUGEINT"
            about = f"CASE WHEN regexp_full_match({sql}, '{_WHOLE_NUMBER}') THEN {exactly} ELSE {about} END"
        return f"({is_number} AND {about})"

    def _exact(self, sql: str, op: Op, value: int | Decimal, *, places: int, bound: int) -> str:
        """Compare a column of so many decimal places, whose values in units of the last are within ``bound``."""
        op, limit, holds = in_units(op, value, places=places, bound=bound)
        if holds is not None:
            return f"{sql} IS NOT NULL" if holds else _FALSE
        exact = _EXACT.scaleb(Decimal(limit), -places) if places else limit
        return f"{sql} {op.value} {self.parameters.bind(exact)}"

    def _contains(self, text: str) -> str:
        return f"({self.in_columns(text)} OR {self.in_attributes(text)})"

    def in_columns(self, text: str) -> str:
        """Return the condition that one of the columns of text has a text in it."""
        holds = _holds(text, self.parameters)
        return _joined("OR", map(holds, SEARCHED), _FALSE)

    def in_attributes(self, text: str) -> str:
        """Return the condition that a value of the map has a text in it."""
        holds = _holds(text, self.parameters)
        # The values end to end, which one may hold; only then is it worth looking at each.
        joined = holds("array_to_string(map_values(attributes), '')")
        return f"({joined} AND len(list_filter(map_values(attributes), lambda v: {holds('v')})) > 0)"


@dataclass(frozen=True, slots=True)
class _ColumnCompiler(_Compiler):
    """The same over attributes that have columns of their own, and light columns if they are beside them."""

    keys: AttributeKeys

    def _present(self, field: Field) -> str:
        if not isinstance(field, Attribute):
            return super(_ColumnCompiler, self)._present(field)
        column = self._column(field)
        return _FALSE if column is None else f"{column} IS NOT NULL"

    def _compare(self, field: Field, op: Op, value: Value, *, undecided: bool) -> str:
        if not isinstance(field, Attribute):
            return super(_ColumnCompiler, self)._compare(field, op, value, undecided=undecided)
        column = self._column(field)
        if column is None:
            return _FALSE
        is_text = isinstance(value, str | bool) or op in {Op.GLOB, Op.REGEX}
        known = self._comparison(SqlField(column, Type.ATTRIBUTE), op, value)
        if undecided:
            return f"({known} OR {column} = {self.parameters.bind(IN_PAYLOAD)})"
        if is_text and (op is not Op.EQ or value == IN_PAYLOAD):
            return f"({known} AND {column} <> {self.parameters.bind(IN_PAYLOAD)})"
        return known

    def _contains(self, text: str) -> str:
        columns = [column_of(key) for key in self.keys.columns]
        if not text.strip("\0"):
            columns = [f"nullif({column}, {self.parameters.bind(IN_PAYLOAD)})" for column in columns]
        # Most of these columns have few values, and what is asked of a dictionary's is asked of each but once.
        return _joined("OR", map(_lower_holds(text, self.parameters), columns), _FALSE)

    def _column(self, field: Attribute) -> str | None:
        return column_of(map_key(field)) if map_key(field) in self.keys.columns else None


def _joined(word: str, conditions: Iterable[str], of_none: str) -> str:
    parts = list(conditions)
    return f"({f' {word} '.join(parts)})" if parts else of_none


def _holds(text: str, parameters: Parameters) -> Callable[[str], str]:
    """Return how to write that an expression holds a text, whatever the case.

    RE2 finds letters of either case in half the time that it takes to make a text lower first.
    """
    if text.lower() == text.upper():
        # Digits and signs have no case.
        sought = parameters.bind(text)
        return lambda sql: f"contains({sql}, {sought})"
    if text.isascii() and len(text) <= _MAX_EITHER_CASE:
        pattern = parameters.bind("".join(map(_either_case, text)))
        return lambda sql: f"regexp_matches({sql}, {pattern})"
    return _lower_holds(text, parameters)


def _lower_holds(text: str, parameters: Parameters) -> Callable[[str], str]:
    sought = parameters.bind(text)
    if text.lower() == text.upper():
        return lambda sql: f"contains({sql}, {sought})"
    return lambda sql: f"contains(lower({sql}), lower({sought}))"


def _either_case(character: str) -> str:
    if not character.isalpha():
        return _quoted(character)
    lower = character.lower()
    return f"[{lower}{lower.upper()}{_ALSO_LOWER_TO.get(lower, '')}]"


def _as_text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:f}" if isinstance(value, Decimal) else str(value)


def _as_double(value: int | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _size(value: int | Decimal) -> Decimal:
    return Decimal(value).copy_abs()


def in_units(op: Op, value: int | Decimal, *, places: int, bound: int) -> tuple[Op, int, bool | None]:
    """Return a comparison with any number as one with a whole number, in units of 10**-places.

    The third is whether it holds, where that is the same for all numbers within ``bound``.
    """
    below = op in {Op.LT, Op.LE}
    if _size(value) >= bound:
        return op, 0, op is not Op.EQ and below == (value > 0)
    tiny = value != 0 and _size(value) < _LEAST
    scaled = Fraction(0 if value > 0 else -1, 1) if tiny else Fraction(value) * 10**places
    if tiny or scaled.denominator != 1:
        # Between two whole numbers: what is less than this is at most the lower of them.
        return (Op.LE if below else Op.GT), math.floor(scaled), False if op is Op.EQ else None
    whole = int(scaled)
    is_within = -bound <= whole < bound
    return op, whole, None if is_within else op is not Op.EQ and below == (whole > 0)


def _quoted(character: str) -> str:
    return character if character.isalnum() or ord(character) > 127 else f"\\x{{{ord(character):x}}}"


def _check_regex(pattern: str) -> None:
    try:
        pc.match_substring_regex(_NOTHING, pattern)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"not a regular expression: {pattern[:200]!r}: {error}") from error
