"""The query language: text in, predicates of ``model.algebra`` out.

The grammar is told in ``docs/query-language.md``. A parser by hand, by precedence: what a
character means depends on where it stands (``>`` compares after a field and relates after a brace, a value may hold
colons and slashes), which a table of tokens can't say, and every error is to show its place. No depth
of recursion is left to the caller: the text, its terms and its nesting have bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from agenttrace_core.model.algebra import (
    EVERY_SPAN,
    EVERY_TRACE,
    AllOf,
    And,
    AnyOf,
    Contains,
    Field,
    NoneOf,
    Not,
    Or,
    Present,
    Related,
    Relation,
    Some,
    SpanPredicate,
    Step,
    TraceField,
    TracePredicate,
)
from agenttrace_core.query.caret import nearest, shown
from agenttrace_core.query.comparing import compare, compare_trace, plain_text
from agenttrace_core.query.fields import ATTRIBUTE, FIELDS, NAMES, RESOURCE, SCORE, TRACE, name_of, named_field
from agenttrace_core.query.scanner import QUOTES, Scanner, Style, Token

MAX_TERMS = 200
MAX_NESTING = 50
HAS, PAYLOAD = "has", "payload"
AND, OR, NOT, SAME = "AND", "OR", "NOT", "same"
RELATIONS = (Relation.DESCENDANT, Relation.LATER, Relation.CHILD, Relation.SIBLING)
"""In the order in which they are looked for: none is the beginning of a later one."""


def parse_traces(text: str) -> TracePredicate:
    """Return the traces that a query selects: each bare term holds for some span of the trace.

    Raises:
        QueryError: the text is no query; the message shows where.
    """
    return _Parser(text).whole("traces").traces or EVERY_TRACE


def parse_spans(text: str) -> tuple[SpanPredicate, TracePredicate]:
    """Return the spans that a query selects, and what it asks of their traces (``trace.…`` and ``trace{…}``).

    Raises:
        QueryError: the text is no query; the message shows where.
    """
    meant = _Parser(text).whole("spans")
    return meant.spans or EVERY_SPAN, meant.traces or EVERY_TRACE


def parse_field(text: str) -> Field:
    """Return the field of spans that a text names, as it does in a query.

    Raises:
        QueryError: there is no such field.
    """
    parser = _Parser(text)
    field = parser.field()
    if not parser.scan.at_end():
        parser.scan.fail("a field's name ends here; put a name that holds such a character into quotes")
    if isinstance(field, TraceField):
        parser.scan.fail(f"{name_of(field)} is the trace's, not a span's", 0, length=len(text))
    return field


_Scope = Literal["traces", "spans", "braces"]
"""Where a term stands: in a search for traces, in one for spans, or in braces, where all is of one span."""


@dataclass(frozen=True, slots=True)
class _Meant:
    """What a piece of a query says of spans, and what of traces: both are to hold."""

    spans: SpanPredicate | None = None
    traces: TracePredicate | None = None


class _Parser:
    def __init__(self, text: str) -> None:
        self.scan = Scanner(text)
        self._terms = 0
        self._depth = 0

    # --- Terms joined ---

    def whole(self, scope: _Scope) -> _Meant:
        self.scan.skip_space()
        if self.scan.at_end():
            return _Meant()
        meant = self._either(scope)
        if not self.scan.at_end():
            self.scan.fail("this bracket closes nothing")
        return meant

    def _either(self, scope: _Scope) -> _Meant:
        at = self.scan.position
        found = [self._all(scope)]
        while self.scan.take_word(OR):
            found.append(self._all(scope))
        return found[0] if len(found) == 1 else self._any_of(found, at)

    def _all(self, scope: _Scope) -> _Meant:
        found: list[_Meant] = []
        self.scan.skip_space()
        while not self._at_end():
            found.append(self._negated(scope))
            self.scan.skip_space()
            if self.scan.take_word(AND):
                self.scan.skip_space()
                if self._at_end():
                    self.scan.fail("a term is expected after AND")
        if not found:
            self.scan.fail("a term is expected here, such as model:gpt-4o, duration>2s or a word")
        return _all_of(found)

    def _at_end(self) -> bool:
        return self.scan.at_end() or self.scan.at(")", "}") or self.scan.at_word(OR)

    def _negated(self, scope: _Scope) -> _Meant:
        at, negations = self.scan.position, 0
        while (word := self.scan.take_word(NOT)) or self.scan.take("-"):
            negations += 1
            if word:
                self.scan.skip_space()
            if self._at_end() or self.scan.at_space():
                self.scan.fail("a term is expected here, to be negated; to find a - by itself, use quotes")
        meant = self._primary(scope)
        return self._not(meant, at) if negations % 2 else meant

    def _primary(self, scope: _Scope) -> _Meant:
        if self.scan.at("("):
            return self._group(scope)
        if self.scan.at("{"):
            return self._braces(scope)
        return self._term(scope)

    def _group(self, scope: _Scope, close: str = ")") -> _Meant:
        start = self.scan.position
        self.scan.position += 1
        self._depth += 1
        if self._depth > MAX_NESTING:
            self.scan.fail(f"brackets are nested more than {MAX_NESTING} deep", start)
        meant = self._either(scope)
        if not self.scan.take(close):
            what = f"this bracket is not closed: {close} is missing"
            self.scan.fail(
                what if self.scan.at_end() else f"{close} is expected here", start if self.scan.at_end() else None
            )
        self._depth -= 1
        return meant

    # --- Braces and what relates them ---

    def _braces(self, scope: _Scope) -> _Meant:
        if scope == "braces":
            self.scan.fail("braces in braces: all of a brace's terms are of one span already; group them by ( )")
        start = self.scan.position
        first = self._one_span()
        steps: list[Step] = []
        while (relation := self._relation()) is not None:
            steps.append(self._step(relation))
        if steps and scope == "spans":
            self.scan.fail("spans that are related select traces: put them into trace{…}", start)
        if steps:
            return _Meant(traces=Related(first, tuple(steps)))
        return _Meant(spans=first) if scope == "spans" else _Meant(traces=Some(first))

    def _one_span(self) -> SpanPredicate:
        """Read braces: all that is in them is true of one span."""
        self._count()
        start = self.scan.position
        self.scan.position += 1
        self.scan.skip_space()
        if self.scan.take("}"):
            return EVERY_SPAN
        self.scan.position = start
        return self._group("braces", "}").spans or EVERY_SPAN

    def _relation(self) -> Relation | None:
        end = self.scan.position
        self.scan.skip_space()
        for relation in RELATIONS:
            if self.scan.take(relation.value):
                return relation
        self.scan.position = end
        return None

    def _step(self, relation: Relation) -> Step:
        self.scan.skip_space()
        if not self.scan.at("{"):
            self.scan.fail(f"braces are expected after {relation.value}, as in {{tool:search}} {relation.value} {{}}")
        span = self._one_span()
        end = self.scan.position
        self.scan.skip_space()
        if not self.scan.take_word(SAME):
            self.scan.position = end
            return Step(relation, span)
        return Step(relation, span, self._same())

    def _same(self) -> tuple[Field, ...]:
        fields: list[Field] = []
        while not fields or self.scan.take(","):
            self._count()
            self.scan.skip_space()
            at = self.scan.position
            field = self.field(ends=",")
            if isinstance(field, TraceField):
                self.scan.fail(f"{name_of(field)} is the trace's, and the same for all its spans", at)
            fields.append(field)
            end = self.scan.position
            self.scan.skip_space()
            if not self.scan.at(","):
                self.scan.position = end
        return tuple(fields)

    # --- Terms ---

    def _term(self, scope: _Scope) -> _Meant:
        self._count()
        start = self.scan.position
        if self.scan.at(*QUOTES):
            text = self.scan.quoted()
            return self._compared(text, scope) if self._at_operator() else self._free_text(text, scope)
        word = self.scan.key()
        if word is None:
            self.scan.fail("a field or a text is expected here; put a text that begins so into quotes")
        if word.text in {AND, OR, NOT}:
            self.scan.refuse(f"{word.text} stands between terms or before one; to find the word, use quotes", word)
        if word.text == TRACE[:-1] and self.scan.at("{"):
            if scope == "braces":
                self.scan.refuse("trace{…} is of a trace, not of a span: put it outside of the braces", word)
            return _Meant(traces=self._group("traces", "}").traces)
        if word.text in {HAS, PAYLOAD} and self.scan.at(":"):
            self.scan.position += 1
            return self._presence(scope) if word.text == HAS else self._payload(scope)
        self.scan.position = start
        if word.text.endswith(".") and self.scan.text.startswith('"', word.end):
            return self._compared(None, scope)
        self.scan.position = word.end
        return self._compared(word, scope) if self._at_operator() else self._free_text(word, scope)

    def _at_operator(self) -> bool:
        """Say whether a comparison comes next; spaces may stand before it, except before a colon."""
        end = self.scan.position
        if self.scan.at(":"):
            return True
        self.scan.skip_space()
        found = self.scan.at("<", ">", "=", "!=")
        self.scan.position = end
        return found

    def _free_text(self, token: Token, scope: _Scope) -> _Meant:
        self.scan.end_of_term()
        if not token.text:
            self.scan.refuse("a text to be found can't be empty", token)
        if token.style is Style.BARE and "*" in token.text:
            self.scan.refuse("free text is found anywhere in a text and needs no *; to find a *, use quotes", token)
        return _lifted(Contains(token.text), scope)

    def _payload(self, scope: _Scope) -> _Meant:
        token = self.scan.quoted() if self.scan.at(*QUOTES) else self.scan.bare()
        if token is None:
            self.scan.fail('a text is expected here, as in payload:"refund"')
        self.scan.end_of_term()
        return _lifted(Contains(plain_text(self.scan, token), payload=True), scope)

    def _presence(self, scope: _Scope) -> _Meant:
        at = self.scan.position
        field = self.field()
        if isinstance(field, TraceField):
            self.scan.fail(f"every trace has {name_of(field)}", at, length=self.scan.position - at)
        self.scan.end_of_term()
        return _lifted(Present(field), scope)

    def _compared(self, key: Token | None, scope: _Scope) -> _Meant:
        start = self.scan.position if key is None else key.position
        field = self._field_of(key) if key else self.field()
        named = self.scan.position
        self.scan.skip_space()
        operator = self.scan.operator()
        if operator is None or (operator.text.startswith(":") and operator.position > named):
            self.scan.fail("a comparison is expected here, such as : or >", named)
        if isinstance(field, TraceField):
            if scope == "braces":
                self.scan.fail(
                    f"{name_of(field)} is the trace's: put it outside of the braces", start, length=named - start
                )
            return _Meant(traces=compare_trace(self.scan, field, operator, self._values(operator)))
        return _lifted(compare(self.scan, field, operator, self._values(operator)), scope)

    def _values(self, operator: Token) -> Sequence[Token]:
        """Read a value, or values in parentheses with OR between them."""
        if not operator.text.endswith(":"):
            self.scan.skip_space()
        if not self.scan.take("("):
            values = [self._value()]
            self.scan.end_of_term()
            return values
        if "<" in operator.text or ">" in operator.text:
            self.scan.refuse("a list of values can be compared by : or != only", operator)
        values = []
        while not values or self.scan.take_word(OR):
            self.scan.skip_space()
            if values:
                self._count()
            values.append(self._value())
            self.scan.skip_space()
        if not self.scan.take(")"):
            self.scan.fail("OR or ) is expected here: values in a list have OR between them")
        self.scan.end_of_term()
        return values

    def _value(self) -> Token:
        value = self.scan.value()
        if value is None:
            self.scan.fail('a value is expected here, such as gpt-4o, "two words" or * for any')
        return value

    # --- Fields ---

    def field(self, ends: str = "") -> Field | TraceField:
        """Read a field's name; bare, it ends before any of ``ends``."""
        if self.scan.at(*QUOTES):
            return self._field_of(self.scan.quoted())
        word = self.scan.key()
        if word is None:
            self.scan.fail("a field is expected here, such as model or attr.http.route")
        if ends and (cut := word.text.find(ends)) > 0:
            word = Token(word.text[:cut], word.style, word.position, word.position + cut)
            self.scan.position = word.end
        if word.text in {ATTRIBUTE, RESOURCE, SCORE} and self.scan.at('"'):
            rest = self.scan.quoted()
            word = Token(word.text + rest.text, Style.BARE, word.position, rest.end)
        return self._field_of(word)

    def _field_of(self, token: Token) -> Field | TraceField:
        name = ATTRIBUTE + token.text if token.style is Style.QUOTED else token.text
        field = named_field(name)
        return self._unknown(token) if field is None else field

    def _unknown(self, token: Token) -> NoReturn:
        if token.style is Style.QUOTED:
            self.scan.refuse("an attribute's key can't be empty", token)
        of_traces = [name_of(field) for field in TraceField]
        known, note = (
            list(NAMES),
            f"fields: {', '.join([*FIELDS, 'attr.KEY', 'resource.KEY', 'score.NAME', *of_traces])}",
        )
        if token.text.startswith(TRACE):
            known, note = of_traces, f"fields of traces: {', '.join(of_traces)}"
        self.scan.refuse(f"there is no field {shown(token.text)}{nearest(token.text, known)}", token, note=note)

    # --- Bounds, and what can't be said ---

    def _count(self) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            self.scan.fail(f"a query may have {MAX_TERMS} terms; the next one is more")

    def _any_of(self, found: Sequence[_Meant], at: int) -> _Meant:
        spans, traces = [m.spans for m in found if m.spans], [m.traces for m in found if m.traces]
        if not traces:
            return _Meant(spans=_disjunction(spans))
        if spans:
            self.scan.fail("terms of spans and of traces can't be alternatives: put the spans' into trace{…}", at)
        return _Meant(traces=_trace_disjunction(traces))

    def _not(self, meant: _Meant, at: int) -> _Meant:
        if meant.spans and meant.traces:
            self.scan.fail("terms of spans and of traces can't be negated together: negate each", at)
        if meant.spans:
            return _Meant(spans=meant.spans.of if isinstance(meant.spans, Not) else Not(meant.spans))
        assert meant.traces is not None
        return _Meant(traces=meant.traces.of if isinstance(meant.traces, NoneOf) else NoneOf(meant.traces))


def _lifted(span: SpanPredicate, scope: _Scope) -> _Meant:
    """Return what a term about a span means: in a search for traces, that some span satisfies it."""
    return _Meant(traces=Some(span)) if scope == "traces" else _Meant(spans=span)


def _all_of(found: Sequence[_Meant]) -> _Meant:
    spans = [m.spans for m in found if m.spans]
    traces = [m.traces for m in found if m.traces]
    return _Meant(_conjunction(spans) if spans else None, _trace_conjunction(traces) if traces else None)


def _conjunction(spans: Sequence[SpanPredicate]) -> SpanPredicate:
    flat = [part for span in spans for part in (span.of if isinstance(span, And) else (span,))]
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def _disjunction(spans: Sequence[SpanPredicate]) -> SpanPredicate:
    return Or(tuple(part for span in spans for part in (span.of if isinstance(span, Or) else (span,))))


def _trace_conjunction(traces: Sequence[TracePredicate]) -> TracePredicate:
    flat = [part for trace in traces for part in (trace.of if isinstance(trace, AllOf) else (trace,))]
    return flat[0] if len(flat) == 1 else AllOf(tuple(flat))


def _trace_disjunction(traces: Sequence[TracePredicate]) -> TracePredicate:
    return AnyOf(tuple(part for trace in traces for part in (trace.of if isinstance(trace, AnyOf) else (trace,))))
