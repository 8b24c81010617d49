"""What ``field operator value`` means: comparisons of the right type, or a message that says what would be right."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agenttrace_core.model.algebra import (
    AllOf,
    And,
    AnyOf,
    Compare,
    Field,
    NoneOf,
    Not,
    Op,
    Or,
    Present,
    SpanPredicate,
    TraceCompare,
    TraceField,
    TracePredicate,
    Value,
)
from agenttrace_core.query.caret import nearest, shown
from agenttrace_core.query.fields import TRACE_FIELDS, FieldInfo, FieldType, info_of, name_of
from agenttrace_core.query.literals import EXAMPLES, number_of, parse_literal
from agenttrace_core.query.patterns import problem_of
from agenttrace_core.query.scanner import Scanner, Style, Token

STAR = "*"
_EQUALS = {"", "=", "!="}
_RANGE = ".."
_PIECE = re.compile(r"\\(\W)|(\*)|(.)", re.DOTALL)

_Conditions = tuple[tuple[Op, Value], ...]
"""All of them are to hold: one, or the two ends of a range."""


def compare(scan: Scanner, field: Field, operator: Token, values: Sequence[Token]) -> SpanPredicate:
    """Return that a field of a span compares so with one of the values.

    ``!=`` is true of spans that have the field, and another value in it.

    Raises:
        QueryError: the field can't be compared so, or a value is not of its type.
    """
    target = _Target(scan, name_of(field), info_of(field), operator)
    options: list[SpanPredicate] = []
    for value in values:
        if target.is_any(value):
            options.append(Present(field))
            continue
        found = tuple(Compare(field, op, literal) for op, literal in target.conditions(value))
        options.append(found[0] if len(found) == 1 else And(found))
    one_of = options[0] if len(options) == 1 else Or(tuple(options))
    if one_of == Present(field):
        return Not(one_of) if target.negated else one_of
    return And((Present(field), Not(one_of))) if target.negated else one_of


def compare_trace(scan: Scanner, field: TraceField, operator: Token, values: Sequence[Token]) -> TracePredicate:
    """Return that a trace compares so with one of the values.

    Raises:
        QueryError: the field can't be compared so, or a value is not of its type.
    """
    target = _Target(scan, name_of(field), TRACE_FIELDS[field], operator)
    options: list[TracePredicate] = []
    for value in values:
        found = tuple(TraceCompare(field, op, literal) for op, literal in target.conditions(value))
        options.append(found[0] if len(found) == 1 else AllOf(found))
    one_of = options[0] if len(options) == 1 else AnyOf(tuple(options))
    return NoneOf(one_of) if target.negated else one_of


def plain_text(scan: Scanner, token: Token) -> str:
    """Return the text that a value is, where no ``*`` may stand for others.

    Raises:
        QueryError: there is one, or the text is empty.
    """
    text, globbed = _unescaped(scan, token) if token.style is Style.BARE else (token.text, False)
    if globbed:
        scan.refuse("this is found anywhere in a text and needs no *; to find a *, use quotes", token)
    if not text:
        scan.refuse("a text to be found can't be empty", token)
    return text


@dataclass(frozen=True, slots=True)
class _Target:
    """What is compared, and how. ``info`` is None for attributes and scores: they can be text or numbers."""

    scan: Scanner
    name: str
    info: FieldInfo | None
    operator: Token

    @property
    def negated(self) -> bool:
        return _comparison(self.operator) == "!="

    @property
    def type(self) -> FieldType | None:
        return self.info.type if self.info else None

    def is_any(self, value: Token) -> bool:
        """Whether the field is compared with ``*`` alone, which every value satisfies."""
        return value.style is Style.BARE and value.text == STAR and _comparison(self.operator) in _EQUALS

    def conditions(self, value: Token) -> _Conditions:
        comparison = _comparison(self.operator)
        if comparison not in _EQUALS:
            return ((Op(comparison), self._ordered(value)),)
        if value.style is Style.REGEX:
            return ((Op.REGEX, self._pattern(value)),)
        if self.info and self.info.values:
            return ((Op.EQ, self._known(value, self.info.values)),)
        if self.type in {FieldType.TEXT, FieldType.LIST}:
            return (self._text(value),)
        return self._number_or_range(value)

    def _ordered(self, value: Token) -> Value:
        if self.type and not self.type.ordered:
            what = f"{self.name} is {_article(self.type)} and can be compared by : and != only"
            self.scan.refuse(what, self.operator)
        if self.type:
            return self._literal(value, value.text)
        if value.style is Style.QUOTED:
            return value.text
        number = number_of(value.text) if value.style is Style.BARE else None
        if number is None:
            self.scan.refuse(f"{self.operator.text} compares {self.name} with a number, or a text in quotes", value)
        return number

    def _pattern(self, value: Token) -> str:
        if self.type not in {None, FieldType.TEXT, FieldType.LIST} or (self.info and self.info.values):
            self.scan.refuse(f"{self.name} is no text: a regular expression can't be found in it", value)
        problem = problem_of(value.text)
        if problem:
            self.scan.refuse(problem, value)
        return value.text

    def _known(self, value: Token, known: tuple[str, ...]) -> str:
        if value.text not in known:
            problem = f"{self.name} is never {shown(value.text)}{nearest(value.text, known)}"
            self.scan.refuse(problem, value, note=f"{self.name} is one of: {', '.join(known)}")
        return value.text

    def _text(self, value: Token) -> tuple[Op, Value]:
        if value.style is Style.QUOTED:
            return Op.EQ, value.text
        text, globbed = _unescaped(self.scan, value)
        return (Op.GLOB if globbed else Op.EQ), text

    def _number_or_range(self, value: Token) -> _Conditions:
        """Read the value of a field that is no text, or that can be both."""
        low, dots, high = value.text.partition(_RANGE)
        parse: Callable[[str], Value | None] = number_of if self.type is None else self._parsed
        if value.style is Style.BARE and dots and (low or high):
            ends = [(op, text, parse(text)) for op, text in ((Op.GE, low), (Op.LE, high)) if text]
            if all(number is not None for _, _, number in ends):
                return tuple((op, number) for op, _, number in ends if number is not None)
        if self.type:
            return ((Op.EQ, self._literal(value, value.text)),)
        number = number_of(value.text) if value.style is Style.BARE else None
        return (self._text(value),) if number is None else ((Op.EQ, number),)

    def _parsed(self, text: str) -> Value | None:
        return parse_literal(self.type, text) if self.type else None

    def _literal(self, value: Token, text: str) -> Value:
        literal = None if value.style is Style.REGEX else self._parsed(text)
        if literal is None:
            assert self.type is not None
            self.scan.refuse(f"{self.name} is compared with {EXAMPLES[self.type]}", value)
        return literal


def _comparison(operator: Token) -> str:
    return operator.text.removeprefix(":")


def _article(kind: FieldType) -> str:
    return kind.value if kind in {FieldType.TEXT, FieldType.BOOLEAN, FieldType.ONE_OF} else f"a {kind.value}"


def _unescaped(scan: Scanner, token: Token) -> tuple[str, bool]:
    """Return a bare value as it is meant, and whether it is a glob.

    Raises:
        QueryError: some of its ``*`` are meant and some not.
    """
    stars = {"escaped": 0, "free": 0}
    parts: list[str] = []
    for escaped, star, plain in _PIECE.findall(token.text):
        stars["escaped"] += escaped == STAR
        stars["free"] += bool(star)
        parts.append(escaped or star or plain)
    if stars["escaped"] and stars["free"]:
        scan.refuse("* can't both stand for any text and for itself: use a regular expression", token)
    return "".join(parts), bool(stars["free"])
