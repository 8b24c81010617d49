"""Span predicates as conditions of SQL over light rows.

A condition is made of our own expressions and of parameters. What light rows cannot decide (an
attribute that only the payload has, free text in payloads) is taken for true or for false, as the
caller asks: the first gives all spans that may satisfy a predicate, the second those that surely do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_adapters.duckdb.fields import Parameters, SqlField, Type, field_sql, map_key
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

_TRUE, _FALSE = "TRUE", "FALSE"
_SEARCHED = ("name", "status_message", "input_preview", "output_preview")
_INT64, _MONEY_DIGITS, _MONEY_PLACES = 1 << 63, 18, 12
_NUMBER = r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_WHOLE_NUMBER = r"-?[0-9]{1,38}"
_EXACT = Context(prec=64)  # the default one rounds to 28 digits
_LEAST = Decimal("1e-40")
_NOTHING = pa.array([""], pa.string())


def condition(predicate: SpanPredicate, parameters: Parameters, *, undecided: bool) -> str:
    """Return a condition that is true of the rows which satisfy ``predicate``, and false or null of others.

    ``undecided`` is what leaves count for, of the rows that light columns cannot decide them for.

    Raises:
        InvalidInputError: a field does not exist, or a value cannot be compared with it.
        UnsupportedError: a score is asked for.
    """
    return _Compiler(parameters).condition(predicate, undecided=undecided)


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

    def _present(self, field: Field) -> str:
        if isinstance(field, Attribute):
            return f"map_contains(attributes, {self.parameters.bind(map_key(field))})"
        found = field_sql(field, self.parameters)
        return f"len({found.sql}) > 0" if found.type is Type.TEXTS else f"{found.sql} IS NOT NULL"

    def _compare(self, field: Field, op: Op, value: Value, *, undecided: bool) -> str:
        found = field_sql(field, self.parameters)
        if not isinstance(field, Attribute):
            return self._comparison(found, op, value)
        known = self._comparison(found, op, value)
        if not undecided:
            return known
        key = self.parameters.bind(map_key(field))
        return f"({known} OR (more_attributes AND {found.sql} IS NULL AND map_contains(attributes, {key})))"

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
        floor, is_exact = _in_units(value, places, bound)
        if not is_exact:
            if op is Op.EQ:
                return _FALSE
            # Between two values of the column: what is less than this is at most the lower of them.
            op = Op.LE if op in {Op.LT, Op.LE} else Op.GT
        if not -bound <= floor < bound:
            holds = op in ({Op.LT, Op.LE} if floor > 0 else {Op.GT, Op.GE})
            return f"{sql} IS NOT NULL" if holds else _FALSE
        limit = _EXACT.scaleb(Decimal(floor), -places) if places else floor
        return f"{sql} {op.value} {self.parameters.bind(limit)}"

    def _contains(self, text: str) -> str:
        sought = self.parameters.bind(text)
        # Digits and signs have no case: nothing need be made lower for them.
        lower = "" if text.lower() == text.upper() else "lower"
        holds = [f"contains({lower}({name}), {lower}({sought}))" for name in _SEARCHED]
        # The values end to end, which one may hold; only then is it worth looking at each.
        joined = f"contains({lower}(array_to_string(map_values(attributes), '')), {lower}({sought}))"
        each = f"len(list_filter(map_values(attributes), lambda v: contains({lower}(v), {lower}({sought})))) > 0"
        return f"({' OR '.join([*holds, f'({joined} AND {each})'])})"


def _joined(word: str, conditions: Iterable[str], of_none: str) -> str:
    parts = list(conditions)
    return f"({f' {word} '.join(parts)})" if parts else of_none


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


def _in_units(value: int | Decimal, places: int, bound: int) -> tuple[int, bool]:
    """Return the value in units of 10**-places, rounded down, and whether it is exactly that."""
    if _size(value) >= bound:
        return (bound if value > 0 else -bound - 1), True
    if value != 0 and _size(value) < _LEAST:
        return (0 if value > 0 else -1), False
    scaled = Fraction(value) * 10**places
    return math.floor(scaled), scaled.denominator == 1


def _quoted(character: str) -> str:
    return character if character.isalnum() or ord(character) > 127 else f"\\x{{{ord(character):x}}}"


def _check_regex(pattern: str) -> None:
    try:
        pc.match_substring_regex(_NOTHING, pattern)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"not a regular expression: {pattern[:200]!r}: {error}") from error
