"""One call to a model is one inference span, however many instrumentations see it: the outermost one's.

Ours tells those further in to stand back, by the keys that they document, and stands back itself inside another's.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from opentelemetry import trace
from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,  # pyright: ignore[reportPrivateUsage] - OpenTelemetry has no public name for it
    attach,
    detach,
    get_current,
    get_value,
    set_value,
)

from agenttrace import semconv

inside: Final[ContextVar[bool]] = ContextVar("agenttrace_inference", default=False)
"""Whether an inference span of ours, current or not, covers what is called here."""

_SUPPRESS_LANGUAGE_MODEL: Final = "suppress_language_model_instrumentation"
"""OpenLLMetry's, and what others took over from it."""
_OPENINFERENCE: Final = "openinference.instrumentation."
_OPENINFERENCE_KIND: Final = "openinference.span.kind"


def stands_back() -> bool:
    """Say whether a call to a model is on record already, or is not to be recorded."""
    context = get_current()
    if (
        inside.get()
        or get_value(_SUPPRESS_INSTRUMENTATION_KEY, context)
        or get_value(_SUPPRESS_LANGUAGE_MODEL, context)
    ):
        return True
    attributes = getattr(trace.get_current_span(), "attributes", None) or {}
    return (
        attributes.get(semconv.OPERATION) in semconv.INFERENCE_OPERATIONS
        or attributes.get(_OPENINFERENCE_KIND) in {"LLM", "EMBEDDING"}
        or "llm.request.type" in attributes
    )


@contextmanager
def covering(span: trace.Span, *, library: str) -> Generator[None]:
    """Make ``span`` current for a call into ``library``, and have the instrumentations further in stand back."""
    context = set_value(_SUPPRESS_LANGUAGE_MODEL, value=True, context=trace.set_span_in_context(span, get_current()))
    if _OPENINFERENCE + library in sys.modules:
        # OpenInference knows only this key, which silences an HTTP client's spans too: set only where it is needed.
        context = set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True, context=context)
    token, mark = attach(context), inside.set(True)
    try:
        yield
    finally:
        inside.reset(mark)
        detach(token)
