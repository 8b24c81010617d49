"""What the API answers, as OpenAPI tells it. Answers are written from columns; tests hold them to these models."""

from __future__ import annotations

from agenttrace_server.query.models.common import Error, ErrorDetail, Model, Money, Partial
from agenttrace_server.query.models.health import Health
from agenttrace_server.query.models.sending import DeadLetter, DeadLetters, Receipt, Sent
from agenttrace_server.query.models.spans import (
    Event,
    InstrumentationScope,
    LightFields,
    LightSpan,
    Link,
    OneSpan,
    Resource,
    Span,
    TailSpan,
)
from agenttrace_server.query.models.traces import Summary, Trace, TraceListing

__all__ = [
    "DeadLetter",
    "DeadLetters",
    "Error",
    "ErrorDetail",
    "Event",
    "Health",
    "InstrumentationScope",
    "LightFields",
    "LightSpan",
    "Link",
    "Model",
    "Money",
    "OneSpan",
    "Partial",
    "Receipt",
    "Resource",
    "Sent",
    "Span",
    "Summary",
    "TailSpan",
    "Trace",
    "TraceListing",
]
