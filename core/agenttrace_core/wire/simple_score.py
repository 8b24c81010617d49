"""Scores in plain JSON, for people with ``curl`` and no OpenTelemetry.

The body is one score, or an array of scores::

    {"trace_id": "6e0c63257de34c926f9efcd03927272e", "name": "helpful", "value": 0.9}

- ``trace_id``: 32 hex digits, and if it is of one span, ``span_id``: 16. Or ``session_id``, of a session. The
  trace need not have come yet.
- ``name``: of what was judged, at most 256 characters.
- ``value``: a number, or true or false, which are 1 and 0. ``label``: text. One of the two at least.
- ``explanation``: text.
- ``source``: who judged; ``api`` if absent.
- ``id``: yours, at most 256 characters. What is sent again with it replaces what it said before.
- ``response_id``: of the provider's response that was judged (``gen_ai.response.id``).
- ``time``: RFC 3339 with an offset, or integer nanoseconds since the epoch; now if absent.

Each becomes an event ``gen_ai.evaluation.result``, as OpenTelemetry has it:
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-events/
"""

from __future__ import annotations

import time
from typing import Any, Final

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.wire import json_text
from agenttrace_core.wire.envelope import Refusal
from agenttrace_core.wire.log_columns import EVALUATION, SCORE_ID, SCORE_SOURCE
from agenttrace_core.wire.logs import JsonLogs
from agenttrace_core.wire.message import Json
from agenttrace_core.wire.otlp_messages import LOG_RECORD, SCOPE
from agenttrace_core.wire.proto_bytes import delimited
from agenttrace_core.wire.simple_span import attribute, check_names, id_of, time_of
from agenttrace_core.wire.wrong_field import WrongFieldError, not_a

SCOPE_NAME: Final = "agenttrace.api"
DEFAULT_SOURCE: Final = "api"
MAX_SCORES: Final = 10_000
"""Scores that one request may hold."""

_MAX_NAME, _MAX_EXPLANATION = 256, 65_536
_KEYS: Final = {
    "name": "gen_ai.evaluation.name", "label": "gen_ai.evaluation.score.label",
    "explanation": "gen_ai.evaluation.explanation", "response_id": "gen_ai.response.id", "source": SCORE_SOURCE,
    "id": SCORE_ID, "session_id": "session.id",
}  # fmt: skip
_NAMES: Final = frozenset({*_KEYS, "trace_id", "span_id", "value", "time"})
_ITEM, _HEAD = b"\x12", b"\x0a"


def scores_from_json(body: bytes, *, now_ns: int | None = None) -> JsonLogs:
    """Read one score or several as an ``ExportLogsServiceRequest``; those that are wrong are refused by themselves.

    Raises:
        InvalidInputError: it is not JSON, or neither an object nor an array, or holds too many.
    """
    document = json_text.loads(body)
    if not isinstance(document, dict | list):
        raise InvalidInputError(f"the body: {not_a('a score, or an array of scores', document)}")
    given: list[Any] = document if isinstance(document, list) else [document]
    if len(given) > MAX_SCORES:
        raise InvalidInputError(f"the body: {len(given)} scores; one request may hold {MAX_SCORES}")
    now = time.time_ns() if now_ns is None else now_ns
    records: list[bytes] = []
    refused: list[Refusal] = []
    for i, score in enumerate(given):
        try:
            records.append(delimited(_ITEM, LOG_RECORD.encode(_record(score, now))))
        except WrongFieldError as error:
            place = error.under(i) if isinstance(document, list) else error
            refused.append(Refusal(str(place), json_text.dumps_exactly(score)))
    scope = delimited(_HEAD, SCOPE.encode({"name": SCOPE_NAME}))
    request = delimited(_HEAD, delimited(_ITEM, scope + b"".join(records))) if records else b""
    return JsonLogs(request, len(records), tuple(refused))


def _record(score: object, now_ns: int) -> Json:
    if not isinstance(score, dict):
        raise not_a("an object", score)
    check_names(score, _NAMES)
    texts = {name: _text(score, name) for name in _KEYS if score.get(name) is not None}
    if "name" not in texts:
        raise WrongFieldError("missing; a score has one", "name")
    value = _value(score)
    if value is None and "label" not in texts:
        raise WrongFieldError("missing; a score has a value or a label", "value")
    if score.get("trace_id") is None and "session_id" not in texts:
        raise WrongFieldError("missing; a score is of a trace or of a session (session_id)", "trace_id")
    attributes = [attribute(_KEYS[name], text) for name, text in ({"source": DEFAULT_SOURCE} | texts).items()]
    if value is not None:
        attributes.append(attribute("gen_ai.evaluation.score.value", value))
    at = time_of(score, "time")
    return {
        "timeUnixNano": now_ns if at is None else at,
        "observedTimeUnixNano": now_ns,
        "eventName": EVALUATION,
        "attributes": attributes,
        **_ids(score),
    }


def _ids(score: Json) -> Json:
    if score.get("trace_id") is None:
        if score.get("span_id") is not None:
            raise WrongFieldError("missing; a span is of a trace", "trace_id")
        return {}
    ids = {"traceId": id_of(score["trace_id"], 16, "trace_id")}
    return ids if score.get("span_id") is None else ids | {"spanId": id_of(score["span_id"], 8, "span_id")}


def _text(score: Json, name: str) -> str:
    value = score[name]
    most = _MAX_EXPLANATION if name == "explanation" else _MAX_NAME
    if not isinstance(value, str) or not value or len(value) > most:
        raise not_a(f"text of 1 to {most} characters", value).under(name)
    return value


def _value(score: Json) -> float | None:
    """A finite number; true is 1 and false 0."""
    value = score.get("value")
    if value is None:
        return None
    if not isinstance(value, bool | int | float) or not abs(value) <= 1e300:
        raise not_a("a number, true or false", value).under("value")
    return float(value)
