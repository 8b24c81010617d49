"""What the API answers, as OpenAPI tells it. Answers are written from columns; tests hold them to these models."""

from __future__ import annotations

from agenttrace_server.query.models.analytics import Figures, Row
from agenttrace_server.query.models.common import Error, ErrorDetail, Model, Money, Partial
from agenttrace_server.query.models.complete import Completion, Suggestion
from agenttrace_server.query.models.entities import (
    EntityDetails,
    EntityFigures,
    EntityListing,
    EntityPage,
    ErrorGroup,
    ErrorListing,
)
from agenttrace_server.query.models.explain import Explanation, OneExplanation, Reason
from agenttrace_server.query.models.health import Health
from agenttrace_server.query.models.scores import GivenScore, Score, ScoreFigures, ScoreListing, ScoreRow, ScoresSent
from agenttrace_server.query.models.sending import DeadLetter, DeadLetters, Receipt, Sent
from agenttrace_server.query.models.spans import (
    Event,
    FoundSpan,
    InstrumentationScope,
    LightFields,
    LightSpan,
    Link,
    Message,
    OneSpan,
    Resource,
    Span,
    SpanListing,
)
from agenttrace_server.query.models.traces import (
    MissingParent,
    PathStep,
    ServiceSkew,
    SpanPage,
    Summary,
    Trace,
    TraceError,
    TraceListing,
    TraceSummary,
)

__all__ = [
    "Completion",
    "DeadLetter",
    "DeadLetters",
    "EntityDetails",
    "EntityFigures",
    "EntityListing",
    "EntityPage",
    "Error",
    "ErrorDetail",
    "ErrorGroup",
    "ErrorListing",
    "Event",
    "Explanation",
    "Figures",
    "FoundSpan",
    "GivenScore",
    "Health",
    "InstrumentationScope",
    "LightFields",
    "LightSpan",
    "Link",
    "Message",
    "MissingParent",
    "Model",
    "Money",
    "OneExplanation",
    "OneSpan",
    "Partial",
    "PathStep",
    "Reason",
    "Receipt",
    "Resource",
    "Row",
    "Score",
    "ScoreFigures",
    "ScoreListing",
    "ScoreRow",
    "ScoresSent",
    "Sent",
    "ServiceSkew",
    "Span",
    "SpanListing",
    "SpanPage",
    "Suggestion",
    "Summary",
    "Trace",
    "TraceError",
    "TraceListing",
    "TraceSummary",
]
