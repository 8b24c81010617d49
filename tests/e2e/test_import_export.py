"""Recorded traces in by ``import``, out by ``export``: equal, span for span."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.e2e.canonical import span_multiset
from tests.e2e.running import RunningServer

FEW = ("native-agents", "native-zipkin-services", "replay-openllmetry")


def recorded(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file).read().splitlines()


def files_of(corpora: Path, names: tuple[str, ...]) -> list[Path]:
    return [corpora / "dev" / f"{name}.otlp.jsonl.zst" for name in names]


def assert_round_trip(server: RunningServer, files: list[Path], tmp_path: Path) -> None:
    said = server.cli(["import", *map(str, files)])
    sent = span_multiset(line for file in files for line in recorded(file))
    assert f"{sum(sent.values()):,} spans sent" in said
    assert "readable now" in said

    output = tmp_path / "export.jsonl.zst"
    server.cli(["export", "-o", str(output)])
    read = span_multiset(recorded(output))
    assert not sent - read, f"{sum((sent - read).values())} spans are lost or changed: {next(iter(sent - read))[:2000]}"
    # Spans that were sent twice under one identity are one; nothing else may differ.
    assert not read - sent


def test_what_was_imported_is_exported_span_for_span(server: RunningServer, corpora: Path, tmp_path: Path) -> None:
    """Lost: an attribute, event or link that was sent; the promise that nothing is."""
    assert_round_trip(server, files_of(corpora, FEW), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_corpus_is_exported_span_for_span(server: RunningServer, corpora: Path, tmp_path: Path) -> None:
    """Lost: as above, on ten dialects and on spans of 8 MB."""
    assert_round_trip(server, sorted((corpora / "dev").glob("*.otlp.jsonl.zst")), tmp_path)


def span(trace: int, span_id: int, name: str, **fields: Any) -> dict[str, Any]:
    times = {"startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000000000001"}
    return {"traceId": f"{trace:032x}", "spanId": f"{span_id:016x}", "name": name, **times, **fields}


def line(*spans: dict[str, Any]) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}).encode() + b"\n"


def test_what_is_refused_is_told_and_costs_no_neighbour(server: RunningServer, tmp_path: Path) -> None:
    """Lost: one bad line, id or giant span stops an import, or vanishes without a word."""
    giant = span(3, 1, "giant", attributes=[{"key": "k", "value": {"stringValue": "x" * (21 << 20)}}])
    file = tmp_path / "mixed.gz"
    with gzip.open(file, "wb", compresslevel=1) as out:
        out.write(line(span(1, 1, "good"), span(1, 0, "zero id")) + b"{torn\n" + line(giant, span(3, 2, "beside")))
        out.write(line(span(2, 1, "last")))
    said = server.cli(["import", str(file)], code=1)

    assert "3 spans sent" in said
    assert "mixed.gz:2" in said
    assert "not JSON" in said
    assert "mixed.gz:3" in said
    assert "a span of 22," in said
    names = {
        one["name"] for trace in server.traces() for one in server.get(f"/api/v1/traces/{trace['trace_id']}")["spans"]
    }
    assert names == {"good", "beside", "last"}
