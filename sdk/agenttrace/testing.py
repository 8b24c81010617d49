"""For tests of programs that are on record: what they recorded, without a server.

In a test:

    from agenttrace.testing import capture

    def test_my_agent():
        with capture() as spans:
            my_agent("Where is my parcel?")
        assert spans.named("search").output == "In Leeds."

As a fixture of pytest, import ``recorded_spans`` into a ``conftest.py``, and take it as an argument.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from agenttrace import pipeline, semconv

_INPUTS = (semconv.INPUT, semconv.INPUT_MESSAGES, semconv.TOOL_ARGUMENTS, semconv.RETRIEVAL_QUERY)
_OUTPUTS = (semconv.OUTPUT, semconv.OUTPUT_MESSAGES, semconv.TOOL_RESULT, semconv.RETRIEVAL_DOCUMENTS)


@dataclass(frozen=True, slots=True)
class RecordedSpan:
    """A span that has ended. ``otel`` is all that OpenTelemetry knows of it."""

    otel: ReadableSpan

    @property
    def name(self) -> str:
        """The span's name."""
        return self.otel.name

    @property
    def operation(self) -> str | None:
        """What it did, as ``gen_ai.operation.name``."""
        return self.attributes.get(semconv.OPERATION)

    @property
    def attributes(self) -> dict[str, Any]:
        """All attributes."""
        return dict(self.otel.attributes or {})

    @property
    def input(self) -> Any:
        """What it was given; parsed, where it is JSON. None if nothing was recorded."""
        return self._first(_INPUTS)

    @property
    def output(self) -> Any:
        """What came out of it; parsed, where it is JSON. None if nothing was recorded."""
        return self._first(_OUTPUTS)

    @property
    def error(self) -> str | None:
        """Its status message, if it failed."""
        return None if self.otel.status.is_ok else self.otel.status.description or ""

    @property
    def span_id(self) -> int:
        """The span's id."""
        return self.otel.get_span_context().span_id  # type: ignore[union-attr]

    @property
    def parent_id(self) -> int | None:
        """The parent's id; None for a root."""
        return None if self.otel.parent is None else self.otel.parent.span_id

    def _first(self, keys: tuple[str, ...]) -> Any:
        text = next((self.attributes[key] for key in keys if key in self.attributes), None)
        if not isinstance(text, str):
            return text
        try:
            return json.loads(text)
        except ValueError:
            return text


class Recorded:
    """The spans that have ended so far, in the order in which they did."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def add(self, span: ReadableSpan) -> None:
        """Take a span that has ended."""
        self._spans.append(span)

    def __iter__(self) -> Iterator[RecordedSpan]:
        return iter([RecordedSpan(span) for span in self._spans])

    def __len__(self) -> int:
        return len(self._spans)

    def named(self, name: str) -> RecordedSpan:
        """Return the one span of this name.

        Raises:
            LookupError: there is none, or more than one; the message names those that there are.
        """
        found = [span for span in self if span.name == name]
        if len(found) != 1:
            names = ", ".join(repr(span.name) for span in self) or "none at all"
            raise LookupError(f"{len(found)} spans are named {name!r}; recorded were {names}")
        return found[0]

    def children(self, parent: RecordedSpan | None = None) -> list[RecordedSpan]:
        """Return the spans right below one, or the roots, by start."""
        wanted = None if parent is None else parent.span_id
        found = [span for span in self if span.parent_id == wanted]
        return sorted(found, key=lambda span: span.otel.start_time or 0)

    def clear(self) -> None:
        """Forget them."""
        self._spans.clear()


@contextmanager
def capture() -> Generator[Recorded]:
    """Collect the spans of the process's pipeline. Meanwhile none of them is sent."""
    exporter = pipeline.start().exporter
    recorded = Recorded()
    exporter.captures.append(recorded.add)
    try:
        yield recorded
    finally:
        exporter.captures.remove(recorded.add)


if find_spec("pytest") is not None:
    import pytest

    @pytest.fixture
    def recorded_spans() -> Iterator[Recorded]:
        """Collect what the test records."""
        with capture() as recorded:
            yield recorded
