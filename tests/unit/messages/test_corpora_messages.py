"""All recorded traces: whatever of their spans carries content has messages. The table is printed with ``-s``."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from agenttrace_core.messages import sources
from agenttrace_core.messages.content import SpanContent, span_content
from agenttrace_core.messages.sides import value_of
from agenttrace_core.messages.values import plain_attributes

_KINDS = ("spans", "input", "raw input", "output", "raw output", "more")
"""Raw is what is shown as it came; more are tools or instructions."""

TABLE = {
    "native-agents": (385, 135, 2, 146, 8, 28),
    "native-crewai-telemetry": (190, 19, 5, 3, 0, 0),
    "native-zipkin-services": (1265, 0, 0, 0, 0, 0),
    "replay-genai": (2140, 1971, 0, 1860, 0, 870),
    "replay-genai-v2": (487, 476, 0, 468, 0, 187),
    "replay-huge": (93, 83, 1, 75, 0, 37),
    "replay-openinference": (1121, 990, 190, 1083, 25, 208),
    "replay-openllmetry": (1362, 803, 32, 887, 22, 210),
    "replay-openllmetry-legacy": (868, 573, 0, 651, 8, 150),
}

_SAYS_INPUT = (*sources.INPUT, *sources.ARGUMENTS, *sources.EMBEDDED, "embedding.embeddings{}", "events")
_SAYS_OUTPUT = (*sources.OUTPUT, *sources.RESULTS, *sources.VECTORS, *sources.DOCUMENTS, "embedding.embeddings{}")


def _spans(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file, read_across_frames=True)
        for line in io.BufferedReader(reader):
            for resource in json.loads(line).get("resourceSpans", ()):
                for scope in resource.get("scopeSpans", ()):
                    yield from scope.get("spans", ())


def _row(counts: Counter[str]) -> tuple[int, ...]:
    return tuple(counts[kind] for kind in _KINDS)


def _is_raw(messages: list[dict[str, Any]]) -> bool:
    return any(part.get("parsed") is False for message in messages for part in message["parts"])


def _count(counts: Counter[str], found: SpanContent) -> None:
    counts["spans"] += 1
    for side, messages in (("input", found.input_messages), ("output", found.output_messages)):
        counts[side] += messages is not None
        counts[f"raw {side}"] += messages is not None and _is_raw(messages)
    counts["more"] += bool(found.tool_definitions or found.system_instructions)


@pytest.fixture(scope="module")
def recorded(corpora: Path) -> dict[str, Path]:
    return {path.name.removesuffix(".otlp.jsonl.zst"): path for path in sorted((corpora / "dev").glob("*.zst"))}


@pytest.mark.parametrize("name", TABLE)
def test_every_span_that_carries_content_has_messages(recorded: dict[str, Path], name: str) -> None:
    """Lost otherwise: what was said, in spans of real systems."""
    counts: Counter[str] = Counter()
    for span in _spans(recorded[name]):
        attributes = plain_attributes(span.get("attributes"))
        found = span_content(span)
        _count(counts, found)
        if any(value_of(attributes, source) is not None for source in _SAYS_INPUT):
            assert found.input_messages, attributes
        if any(value_of(attributes, source) is not None for source in _SAYS_OUTPUT):
            assert found.output_messages, attributes
    print(f"\n{name:28}" + "".join(f"  {kind} {counts[kind]:,}" for kind in _KINDS))
    assert _row(counts) == TABLE[name]
