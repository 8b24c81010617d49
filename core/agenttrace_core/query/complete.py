"""What can come next in a query that is being written: which fields, operators and keywords, and whose values.

It reads what stands before the cursor as the parser does, and stops where the text does. What the
parser refuses it passes over: whoever is still writing is not wrong yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from agenttrace_core.errors import QueryError
from agenttrace_core.model.algebra import Attribute, Column, Field, TraceField
from agenttrace_core.query.fields import (
    ATTRIBUTE,
    FIELDS,
    NAMES,
    RESOURCE,
    SCORE,
    TRACE,
    TRACE_FIELDS,
    FieldInfo,
    FieldType,
    info_of,
    named_field,
)
from agenttrace_core.query.language import AND, HAS, NOT, OR, PAYLOAD, SAME
from agenttrace_core.query.scanner import QUOTES, Scanner, Style, Token
from agenttrace_core.query.unparse import quoted

# What stands for itself without quotes.
_PLAIN = re.compile(r"""[^\s(){}"'\\*/<>=!][^\s(){}"'\\*]*""")
_BETWEEN = "(){},-~>"
_ORDERS = (">", ">=", "<", "<=")
_TEXTUAL = (":", "!=", ":*")


class Wanted(StrEnum):
    """What is being written at the cursor."""

    TERM = "term"
    """A field's name, a word of free text, or a keyword."""
    FIELD = "field"
    """A field's name alone, after ``has:`` or ``same``."""
    VALUE = "value"
    """What a field is compared with."""
    NOTHING = "nothing"
    """Something of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is wanted at the cursor: it replaces the text from ``start``, where ``prefix`` has been written already.

    ``field`` is that of the value. ``style`` is how the value was begun.
    """

    wanted: Wanted
    start: int
    prefix: str = ""
    field: Field | TraceField | None = None
    style: Style = Style.BARE


class SuggestionKind(StrEnum):
    """What a suggestion is."""

    FIELD = "field"
    OPERATOR = "operator"
    KEYWORD = "keyword"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A text that can stand at a ``Place``, a line about it, and how many spans have it, where that is known."""

    text: str
    kind: SuggestionKind
    doc: str = ""
    spans: int | None = None


def place_at(text: str, at: int) -> Place:
    """Return what is wanted at a cursor before the character ``at``.

    Raises:
        QueryError: the text is too long, or holds a character that no query can.
    """
    return _Reader(Scanner(text[:at])).place()


def suggestions_at(place: Place) -> list[Suggestion]:
    """Return what can stand at a place that the language itself knows: all but values and keys that occur in spans."""
    if place.wanted is Wanted.VALUE:
        known = _known_values(place.field)
        return [value_suggestion(value, place.style) for value in known if value.startswith(place.prefix)]
    if place.wanted in {Wanted.TERM, Wanted.FIELD}:
        return [*_fields(place), *(_keywords(place.prefix) if place.wanted is Wanted.TERM else ())]
    return []


def value_suggestion(value: str, style: Style, spans: int | None = None) -> Suggestion:
    """Return a value as it is to be written, in quotes if it was begun so or must be."""
    is_plain = style is Style.BARE and _PLAIN.fullmatch(value)
    return Suggestion(value if is_plain else quoted(value), SuggestionKind.VALUE, spans=spans)


def key_suggestion(prefix: str, key: str, spans: int | None = None) -> Suggestion:
    """Return the name of an attribute or score, with what is written after it."""
    is_plain = key.replace(".", "").replace("_", "").replace("-", "").isalnum()
    return Suggestion(f"{prefix}{key if is_plain else quoted(key)}:", SuggestionKind.FIELD, spans=spans)


class _Reader:
    def __init__(self, scan: Scanner) -> None:
        self._scan = scan
        self._after_relation = False

    def place(self) -> Place:
        while True:
            self._skip()
            if self._scan.at_end():
                return Place(Wanted.TERM, self._scan.position)
            found = self._term()
            if found is not None:
                return found

    def _skip(self) -> None:
        """Go on to where a term can begin."""
        while self._scan.at_space() or self._scan.at(*_BETWEEN):
            self._after_relation = self._scan.at("}") or (self._after_relation and self._scan.at_space())
            self._scan.position += 1

    def _term(self) -> Place | None:
        """Read a term. Returns what is wanted where it ends at the cursor, and None where it does not."""
        if self._scan.at(*QUOTES):
            token = self._quoted()
            if token is None:
                return Place(Wanted.NOTHING, self._scan.position)
        else:
            token = self._scan.key()
        if token is None:  # an operator that stands after nothing
            self._scan.position += 1
            return None
        if token.text == SAME and self._after_relation and not self._scan.at_end():
            return self._same()
        if token.text.endswith(".") and self._scan.at('"') and (rest := self._quoted()) is not None:
            token = Token(token.text + rest.text, Style.BARE, token.position, rest.end)
        if self._scan.at_end():
            wanted = Wanted.NOTHING if token.style is Style.QUOTED else Wanted.TERM
            return Place(wanted, token.position, token.text)
        return self._after_name(token)

    def _same(self) -> Place | None:
        self._scan.skip_space()
        start = self._scan.position
        names = self._scan.key()
        text = names.text if names else ""
        if self._scan.at_end():
            last = text.rpartition(",")[2]
            return Place(Wanted.FIELD, start + len(text) - len(last), last)
        return None

    def _after_name(self, token: Token) -> Place | None:
        if token.text in {HAS, PAYLOAD} and self._scan.take(":"):
            start = self._scan.position
            value = self._value()
            if self._scan.at_end():
                wanted = Wanted.FIELD if token.text == HAS else Wanted.NOTHING
                return Place(wanted, start, value.text if value else "")
            return None
        end = self._scan.position
        self._scan.skip_space()
        operator = self._scan.operator()
        if operator is None:
            self._scan.position = end
            return None
        name = ATTRIBUTE + token.text if token.style is Style.QUOTED else token.text
        return self._values(named_field(name))

    def _values(self, field: Field | TraceField | None) -> Place | None:
        """Read a value, or the values of a list."""
        if not self._scan.text[: self._scan.position].endswith(":"):
            self._scan.skip_space()
        in_list = self._scan.take("(")
        while True:
            if in_list:
                self._scan.skip_space()
            start = self._scan.position
            value = self._value()
            if self._scan.at_end():
                style = value.style if value else Style.BARE
                wanted = Wanted.NOTHING if field is None or style is Style.REGEX else Wanted.VALUE
                return Place(wanted, start, value.text if value else "", field, style)
            self._scan.skip_space()
            if not in_list or not self._scan.take_word(OR):
                return None

    def _value(self) -> Token | None:
        """Read a value; of one that is not closed, what there is."""
        start = self._scan.position
        try:
            return self._scan.value()
        except QueryError:
            rest = self._scan.text[start + 1 :]
            self._scan.position = len(self._scan.text)
            style = Style.REGEX if self._scan.text[start] == "/" else Style.QUOTED
            return Token(rest, style, start, self._scan.position)

    def _quoted(self) -> Token | None:
        try:
            return self._scan.quoted()
        except QueryError:
            return None


def _fields(place: Place) -> Iterator[Suggestion]:
    info = NAMES.get(place.prefix)
    if info is not None and place.wanted is Wanted.TERM:
        for operator in _operators(info):
            yield Suggestion(place.prefix + operator, SuggestionKind.OPERATOR, info.doc)
    of_traces = [info.name for info in TRACE_FIELDS.values()] if place.wanted is Wanted.TERM else []
    for name in _beginning(place.prefix, [*FIELDS, *of_traces]):
        if name != place.prefix:
            usual = ">" if NAMES[name].type.ordered else ":"
            written = name if place.wanted is Wanted.FIELD else name + usual
            yield Suggestion(written, SuggestionKind.FIELD, NAMES[name].doc)
    prefixes = {ATTRIBUTE: "Any attribute, by its key", RESOURCE: "Any attribute of what sent the span",
                SCORE: "A score, by its name"}  # fmt: skip
    for name in _beginning(place.prefix, prefixes):
        if name != place.prefix:
            yield Suggestion(name, SuggestionKind.FIELD, prefixes[name])


def _operators(info: FieldInfo) -> tuple[str, ...]:
    if info.type.ordered:
        return (*_ORDERS, ":", "!=")
    return (":", "!=") if info.values or info.type is FieldType.BOOLEAN else _TEXTUAL


def _keywords(prefix: str) -> Iterator[Suggestion]:
    docs = {
        OR: "Either what stands before or what comes after", NOT: "Not what comes after", AND: "Both",
        f"{HAS}:": "The field has a value", f"{PAYLOAD}:": "A text anywhere in the payload: slower",
        f"{TRACE[:-1]}{{": "What is in the braces is asked of the trace",
    }  # fmt: skip
    for word in _beginning(prefix, docs):
        if prefix:
            yield Suggestion(word, SuggestionKind.KEYWORD, docs[word])


def _beginning(prefix: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(prefix)]


def _known_values(field: Field | TraceField | None) -> tuple[str, ...]:
    if field is None or isinstance(field, Attribute):
        return ()
    info = TRACE_FIELDS[field] if isinstance(field, TraceField) else info_of(field)
    if info is None:
        return ()
    return ("true", "false") if info.type is FieldType.BOOLEAN else info.values


def asked_of_index(place: Place) -> Field | None:
    """Return the field whose values that occur in spans can stand at a place; None where none can."""
    if place.wanted is not Wanted.VALUE or _known_values(place.field):
        return None
    field = place.field
    if isinstance(field, TraceField):
        field = {TraceField.NAME: Column("name"), TraceField.SERVICE: Column("service")}.get(field)
    if field is None or isinstance(field, Attribute):
        return field
    info = info_of(field)
    return field if info is not None and info.type in {FieldType.TEXT, FieldType.LIST} else None
