"""The user's hook that takes secrets out of texts, and what becomes of a span under it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status

from agenttrace.settings import Redact, Settings

_log = logging.getLogger("agenttrace")

_FAILED: Final = "(redaction failed: nothing is sent)"


def redacted(span: ReadableSpan, settings: Settings) -> ReadableSpan:
    """Return the span with every text of its attributes, events, links and status given to the hook, if any."""
    redact = settings.redact
    if redact is None:
        return span
    status = span.status
    if status.description:
        status = Status(status.status_code, _text(redact, "status.description", status.description))
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=redacted_attributes(redact, span.attributes),
        events=[Event(e.name, redacted_attributes(redact, e.attributes), e.timestamp) for e in span.events],
        links=[Link(link.context, redacted_attributes(redact, link.attributes)) for link in span.links],
        kind=span.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def redacted_attributes(redact: Redact | None, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return attributes with every text given to the hook, if there is one; what it makes None of is left out."""
    if redact is None:
        return dict(attributes or {})
    out: dict[str, Any] = {}
    for key, value in (attributes or {}).items():
        if isinstance(value, str):
            text = _text(redact, key, value)
            if text is not None:
                out[key] = text
        elif isinstance(value, tuple) and value and isinstance(value[0], str):
            texts = [_text(redact, key, str(item)) for item in value]
            out[key] = tuple(text for text in texts if text is not None)
        else:
            out[key] = value
    return out


def _text(redact: Redact, key: str, text: str) -> str | None:
    try:
        found = redact(key, text)
    except Exception:  # noqa: BLE001 - whatever the hook does, the secret must not leave
        _log.exception("the redaction hook failed on %r", key)
        return _FAILED
    return None if found is None else str(found)
