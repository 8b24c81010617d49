"""The fields that can be asked about: one registry, read by the language, the indexes, completion and the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agenttrace_core.model.algebra import Attribute, Column, Field, Score, TraceField
from agenttrace_core.model.span import Quality
from agenttrace_core.model.trace import TraceState
from agenttrace_core.schema.tables import KINDS, STATUSES


class FieldType(StrEnum):
    """What a field's values are, and so how they are written and compared."""

    TEXT = "text"
    ONE_OF = "one of a few"
    """Text, one of ``FieldInfo.values``."""
    INTEGER = "number"
    DURATION = "duration"
    """Nanoseconds; written with a unit, as in 1.5s."""
    MONEY = "money"
    """US dollars, a decimal."""
    BOOLEAN = "true or false"
    TIME = "time"
    """Nanoseconds since the epoch; written as in RFC 3339."""
    LIST = "list of texts"
    """A comparison is true of the list if it is of one of its texts."""

    @property
    def ordered(self) -> bool:
        """Whether its values can be compared by ``<``."""
        return self in {FieldType.INTEGER, FieldType.DURATION, FieldType.MONEY, FieldType.TIME}


class Form(StrEnum):
    """How a field's value comes from its columns."""

    FIRST = "first"
    """The first of the columns that has a value."""
    SUM = "sum"
    """The sum of the columns that have one; no value if none has."""
    FLAGS = "flags"
    """A list: the names of the bits of ``Quality`` that are set, in lower case; no value if none is."""
    STATE = "state"
    """``running`` if the quality has a bit of ``UNENDED``, else ``complete``."""
    TRACE = "trace"
    """No column of spans: it is the trace's."""


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """A field that has a name of its own.

    ``columns`` are those of ``LIGHT`` that it is read from; ``dimension`` says whether spans can be grouped by it.
    """

    name: str
    type: FieldType
    doc: str
    columns: tuple[str, ...] = ()
    form: Form = Form.FIRST
    aliases: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    dimension: bool = False
    trace: TraceField | None = None


SPAN_STATES = (TraceState.RUNNING.value, TraceState.COMPLETE.value)
TRACE_STATES = tuple(state.value for state in TraceState)
TRACE_STATUSES = ("ok", "error")

_FLAGS = tuple((flag.name or "").lower() for flag in Quality)


def _text(name: str, doc: str, *columns: str, aliases: tuple[str, ...] = (), dimension: bool = True) -> FieldInfo:
    return FieldInfo(name, FieldType.TEXT, doc, columns or (name,), aliases=aliases, dimension=dimension)


def _tokens(name: str, doc: str) -> FieldInfo:
    return FieldInfo(name, FieldType.INTEGER, doc, (name,))


def _one_of(name: str, doc: str, values: tuple[str, ...]) -> FieldInfo:
    return FieldInfo(name, FieldType.ONE_OF, doc, (name,), values=values, dimension=True)


_SPAN_FIELDS = (
    _text("name", "What the span is called"),
    _one_of("status", "Whether it failed, as its sender says", STATUSES),
    _text("model", "The model that answered, else the one that was asked for"),
    _text("provider", "Who serves the model"),
    _text("operation", "What the span does: chat, execute_tool, invoke_agent, …"),
    _text(
        "agent", "The agent that the span belongs to: its own, else its nearest ancestor's", "context_agent", "agent"
    ),
    _text("tool", "The tool that is called"),
    _text(
        "session_id",
        "The session or conversation: the span's own, else its nearest ancestor's, else the trace's",
        "context_session_id",
        "session_id",
        aliases=("session",),
    ),
    _text(
        "user_id",
        "The end user, found in the same way",
        "context_user_id",
        "user_id",
        aliases=("user",),
    ),
    _text("service", "The service that sent the span"),
    _text("scope", "The instrumentation that made the span"),
    _one_of("kind", "OpenTelemetry's kind of span", KINDS),
    FieldInfo("duration", FieldType.DURATION, "How long the span took", ("duration_ns",)),
    FieldInfo("cost_usd", FieldType.MONEY, "What it cost, from the model's price", ("cost_usd",), aliases=("cost",)),
    FieldInfo("given_cost_usd", FieldType.MONEY, "What it cost, as its sender says", ("given_cost_usd",)),
    _tokens("input_tokens", "Tokens read by the model"),
    _tokens("output_tokens", "Tokens written by the model"),
    FieldInfo(
        "total_tokens", FieldType.INTEGER, "Input and output together", ("input_tokens", "output_tokens"), Form.SUM
    ),
    _tokens("cache_read_tokens", "Of the input, what came from a cache"),
    _tokens("cache_write_tokens", "Of the input, what went into a cache"),
    _tokens("reasoning_tokens", "Of the output, what was thought and not said"),
    _tokens("input_audio_tokens", "Of the input, what was sound"),
    _tokens("output_audio_tokens", "Of the output, what was sound"),
    FieldInfo(
        "counted",
        FieldType.BOOLEAN,
        "Whether its tokens and cost count in sums: false where a span below it tells them",
        ("counted",),
        dimension=True,
    ),
    FieldInfo(
        "time_to_first_chunk",
        FieldType.DURATION,
        "How long the first piece of the answer took",
        ("time_to_first_chunk_ns",),
        aliases=("ttfc",),
    ),
    _text("environment", "Where it runs: production, staging, …"),
    _text("version", "The version or release of the application"),
    FieldInfo("tag", FieldType.LIST, "A tag; a span can have many", ("tags",), aliases=("tags",), dimension=True),
    _text("prompt", "The name of the prompt"),
    _text("prompt_version", "The version of the prompt"),
    _text("error_type", "The type of the error or exception"),
    _text("error_group", "The error's message, with what varies taken out"),
    _text("status_message", "What the sender says about the status, the first 256 bytes", dimension=False),
    _text("input", "The first 200 characters of the input", "input_preview", dimension=False),
    _text("output", "The first 200 characters of the output", "output_preview", dimension=False),
    FieldInfo(
        "state",
        FieldType.ONE_OF,
        "Whether the span's end is known",
        ("quality",),
        Form.STATE,
        values=SPAN_STATES,
        dimension=True,
    ),
    FieldInfo(
        "quality",
        FieldType.LIST,
        "What is odd about the span",
        ("quality",),
        Form.FLAGS,
        values=_FLAGS,
    ),
    FieldInfo(
        "start",
        FieldType.TIME,
        "When the span started; when it was received, if nobody says",
        ("start_ns", "received_ns"),
    ),
    _text("trace_id", "The trace's id, 32 hex digits", dimension=False),
    _text("span_id", "The span's id, 16 hex digits", dimension=False),
    _text("parent_span_id", "The id of the span's parent", dimension=False),
)


def _of_trace(
    field: TraceField,
    kind: FieldType,
    doc: str,
    name: str = "",
    *,
    aliases: tuple[str, ...] = (),
    values: tuple[str, ...] = (),
) -> FieldInfo:
    name = f"trace.{name or field.value}"
    return FieldInfo(name, kind, doc, form=Form.TRACE, aliases=aliases, values=values, trace=field)


_TRACE_FIELDS = (
    _of_trace(TraceField.DURATION_NS, FieldType.DURATION, "From the trace's first start to its last end", "duration"),
    _of_trace(TraceField.COST_USD, FieldType.MONEY, "What the trace cost: its counted spans", aliases=("trace.cost",)),
    _of_trace(TraceField.STATUS, FieldType.ONE_OF, "error if a span of it failed, else ok", values=TRACE_STATUSES),
    _of_trace(
        TraceField.STATE,
        FieldType.ONE_OF,
        "running while a span of it is, complete once its root has ended, broken when neither for a while",
        values=TRACE_STATES,
    ),
    _of_trace(TraceField.SPANS, FieldType.INTEGER, "How many spans it has"),
    _of_trace(TraceField.ERRORS, FieldType.INTEGER, "How many of them failed"),
    _of_trace(TraceField.INPUT_TOKENS, FieldType.INTEGER, "Tokens read by models, in its counted spans"),
    _of_trace(TraceField.OUTPUT_TOKENS, FieldType.INTEGER, "Tokens written by models, in its counted spans"),
    _of_trace(TraceField.NAME, FieldType.TEXT, "The root's name, else the earliest span's"),
    _of_trace(TraceField.SERVICE, FieldType.TEXT, "The service of the same span"),
    _of_trace(TraceField.ID, FieldType.TEXT, "Its id, 32 hex digits", aliases=("trace.trace_id",)),
)

FIELDS: Mapping[str, FieldInfo] = {info.name: info for info in _SPAN_FIELDS}
"""The canonical fields of spans, by name: what ``Column`` can hold."""

TRACE_FIELDS: Mapping[TraceField, FieldInfo] = {info.trace: info for info in _TRACE_FIELDS if info.trace}
"""The fields of traces as a whole."""

NAMES: Mapping[str, FieldInfo] = {
    name: info for info in (*_SPAN_FIELDS, *_TRACE_FIELDS) for name in (info.name, *info.aliases)
}
"""Every name and alias, of spans' fields and of traces'."""

ATTRIBUTE, RESOURCE, SCORE, TRACE = "attr.", "resource.", "score.", "trace."
"""What a name begins with that is no canonical field's."""


def info_of(field: Field) -> FieldInfo | None:
    """Return what is known about a field; None for attributes and scores, of which nothing is."""
    return FIELDS[field.name] if isinstance(field, Column) else None


def is_dimension(field: Field) -> bool:
    """Say whether spans can be grouped by a field: by every attribute and score, and by most canonical fields."""
    info = info_of(field)
    return info is None or info.dimension


def named_field(name: str) -> Field | TraceField | None:
    """Return the field of that name; None if there is none.

    ``attr.KEY``, ``resource.KEY`` and ``score.NAME`` are what they say; any other name with a dot in
    it that is no field's is an attribute's.
    """
    if info := NAMES.get(name):
        return info.trace or Column(info.name)
    prefix, dot, rest = name.partition(".")
    prefix += dot
    if not rest or prefix == TRACE:
        return None
    if prefix == RESOURCE:
        return Attribute(rest, resource=True)
    if prefix == SCORE:
        return Score(rest)
    return Attribute(rest if prefix == ATTRIBUTE else name)


def name_of(field: Field | TraceField) -> str:
    """Return the name of a field. The inverse of ``named_field``."""
    if isinstance(field, TraceField):
        return TRACE_FIELDS[field].name
    if isinstance(field, Column):
        return field.name
    if isinstance(field, Score):
        return SCORE + field.name
    return (RESOURCE if field.resource else ATTRIBUTE) + field.key
