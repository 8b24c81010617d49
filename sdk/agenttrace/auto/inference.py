"""One call to a model is one inference span, however many instrumentations see it: the outermost one's.

Ours tells those further in to stand back, by the keys that they document, and stands back itself inside another's.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,  # pyright: ignore[reportPrivateUsage] - OpenTelemetry has no public name for it
    Context,
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
_KNOW_ONE_KEY: Final = ("openinference.instrumentation.", "opentelemetry.instrumentation.openai.v1.responses_wrappers")
"""OpenInference's instrumentations, and what OpenLLMetry's has for the responses API."""
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


def _silenced(context: Context) -> Context:
    context = set_value(_SUPPRESS_LANGUAGE_MODEL, value=True, context=context)
    if any(name.startswith(_KNOW_ONE_KEY) for name in sys.modules):
        # These know only this key, which silences an HTTP client's spans too: set only where it is needed.
        context = set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True, context=context)
    return context


@contextmanager
def covering(span: trace.Span) -> Generator[None]:
    """Make ``span`` current for a call to a model, and have the instrumentations further in stand back."""
    token, mark = attach(_silenced(trace.set_span_in_context(span, get_current()))), inside.set(True)
    try:
        yield
    finally:
        inside.reset(mark)
        detach(token)


@dataclass(frozen=True, slots=True)
class Cover:
    """The same where beginning and end are told in two places of one context: what to go back to."""

    suppressed: object
    language_model_suppressed: object

    @classmethod
    def begin(cls) -> Cover:
        """Have the instrumentations further in stand back from here on."""
        before = get_current()
        cover = cls(get_value(_SUPPRESS_INSTRUMENTATION_KEY, before), get_value(_SUPPRESS_LANGUAGE_MODEL, before))
        attach(_silenced(before))
        inside.set(True)
        return cover

    def end(self) -> None:
        """Let them speak again. The context may be another than at the beginning: only our keys are put back."""
        context = set_value(_SUPPRESS_INSTRUMENTATION_KEY, self.suppressed, get_current())
        attach(set_value(_SUPPRESS_LANGUAGE_MODEL, self.language_model_suppressed, context))
        inside.set(False)
