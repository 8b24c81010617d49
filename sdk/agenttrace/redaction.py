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
    """Return attributes with every text in them given to the hook, if there is one, those within lists too."""
    if redact is None:
        return dict(attributes or {})
    return {
        key: kept
        for key, value in (attributes or {}).items()
        if (kept := _value(redact, key, value)) is not None or value is None
    }


def _value(redact: Redact, key: str, value: Any) -> Any:
    if isinstance(value, str):
        return _text(redact, key, value)
    if isinstance(value, Mapping):
        return {inner: _value(redact, f"{key}.{inner}", item) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        kept = (_value(redact, key, item) for item in value)
        return tuple(item for item, was in zip(kept, value, strict=True) if item is not None or was is None)
    return value


def _text(redact: Redact, key: str, text: str) -> str | None:
    try:
        found = redact(key, text)
        return None if found is None else str(found)
    except Exception as error:  # noqa: BLE001 - whatever the hook does, the secret must not leave
        # Not the error itself: it may quote what was to be taken out.
        _log.warning("the redaction hook failed on %r with %s: nothing of it is sent", key, type(error).__name__)
        return _FAILED
