"""What an import makes of a file before anything is sent."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from agenttrace_server.cli.batches import BadLine, Batch, batches
from agenttrace_server.cli.lines import opened


def request(*spans: str, service: str = "s") -> dict[str, Any]:
    scope = {"scope": {"name": "x"}, "spans": [{"spanId": one} for one in spans]}
    return {"resourceSpans": [{"resource": {"service": service}, "scopeSpans": [scope], "schemaUrl": "u"}]}


def lines(*requests: object) -> list[bytes]:
    return [json.dumps(one).encode() + b"\n" for one in requests]


def span_ids(batch: Batch) -> list[str]:
    scopes = [scope for part in batch.resource_spans for scope in part["scopeSpans"]]
    return [one["spanId"] for scope in scopes for one in scope["spans"]]


@pytest.mark.parametrize("form", ["plain", "gzip", "zstd", "two zstd frames"])
def test_files_are_read_by_their_first_bytes(tmp_path: Path, form: str) -> None:
    """Lost: a file is refused because of its name, or half of a concatenated one is left out."""
    text = b"".join(lines({"a": 1}, {"b": 2}))
    long = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, enable_ldm=True)
    zstd = zstandard.ZstdCompressor(compression_params=long)
    half = text.index(b"\n") + 1
    data = {
        "plain": text,
        "gzip": gzip.compress(text),
        "zstd": zstd.compress(text),
        "two zstd frames": zstd.compress(text[:half]) + zstd.compress(text[half:]),
    }[form]
    path = tmp_path / "any.name"
    path.write_bytes(data)
    with opened(str(path)) as (raw, stream):
        assert [json.loads(line) for line in stream] == [{"a": 1}, {"b": 2}]
        assert raw.count == len(data)


def test_lines_share_requests_up_to_the_bound() -> None:
    """Lost: one request a line, twenty times slower; or requests beyond what a server takes."""
    made = list(batches("f", lines(*(request(f"{n}") for n in range(10))), 400))
    assert all(isinstance(one, Batch) and one.size <= 400 for one in made)
    assert 1 < len(made) < 10
    assert [i for one in made if isinstance(one, Batch) for i in span_ids(one)] == [f"{n}" for n in range(10)]


def test_a_bad_line_costs_only_itself_and_says_where_it_is() -> None:
    """Lost: a file with one torn line cannot be imported, or loses its neighbours."""
    made = list(
        batches(
            "f", [*lines(request("1")), b"{torn\n", b"[]\n", b"\n", *lines({"resourceLogs": []}, request("2"))], 10**6
        )
    )
    assert [(one.place, one.reason.split(":")[0]) for one in made if isinstance(one, BadLine)] == [
        ("f:2", "not JSON"),
        ("f:3", "not an OTLP/JSON request"),
        ("f:5", "resourceLogs are not imported, only resourceSpans"),
    ]
    assert [i for one in made if isinstance(one, Batch) for i in span_ids(one)] == ["1", "2"]


def test_halving_ends_at_single_spans_and_loses_none() -> None:
    """Lost: spans of a request that was too long, or their resource and scope."""
    (whole,) = batches("f", lines(request("1", "2", "3"), request("4", service="t")), 10**6)
    assert isinstance(whole, Batch)
    waiting, single = [whole], []
    while waiting:
        halves = (part := waiting.pop()).halves()
        waiting += reversed(halves or ())
        single += [] if halves else [part]
    assert [span_ids(one) for one in single] == [["1"], ["2"], ["3"], ["4"]]
    assert [one.resource_spans[0]["resource"]["service"] for one in single] == ["s", "s", "s", "t"]
    assert all(one.resource_spans[0]["schemaUrl"] == "u" for one in single)
    assert all(one.resource_spans[0]["scopeSpans"][0]["scope"] == {"name": "x"} for one in single)


def test_text_and_numbers_are_sent_as_they_were() -> None:
    """Lost: large integers, lone surrogates or NaN changed by an import."""
    line = b'{"resourceSpans":[{"a":9007199254740993,"b":"\\ud800","c":1e400,"d":0.1}]}'
    (batch,) = batches("f", [line], 10**6)
    assert isinstance(batch, Batch)
    assert b"9007199254740993" in batch.body
    assert b'"\\ud800"' in batch.body
