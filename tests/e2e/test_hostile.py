"""Hostile spans and bodies the whole way: in by a door, through the log and the writer, and back by every reader."""

from __future__ import annotations

import math
import re
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import zstandard
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agenttrace_core.wire import json_text
from tests.e2e.running import RunningServer, until

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_NOW = 1_795_485_600_000_000_000
_MAX = 2**64 - 1


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all of them: what one of them breaks, the next one meets."""
    server = RunningServer(tmp_path_factory.mktemp("hostile") / "data", AGENTTRACE_WRITE__FLUSH_AGE="1s")
    server.start()
    before = {part: server.pid_of(part) for part in ("ingest", "write", "query")}
    try:
        yield server
        assert {part: server.pid_of(part) for part in before} == before, f"a process died: {server.log()}"
    finally:
        server.destroy()


def _text(value: str) -> AnyValue:
    return AnyValue(string_value=value)


def _one(key: str, value: AnyValue) -> list[KeyValue]:
    return [KeyValue(key=key, value=value)]


def _double(value: float) -> KeyValue:
    return KeyValue(key=str(value), value=AnyValue(double_value=value))


_ODD: dict[str, dict[str, Any]] = {
    "nan": {
        "attributes": [KeyValue(key=str(n), value=AnyValue(double_value=n)) for n in (math.nan, math.inf, -math.inf)]
    },
    "end-before-start": {"start_time_unix_nano": _NOW + 5, "end_time_unix_nano": _NOW},
    "1970": {"start_time_unix_nano": 1, "end_time_unix_nano": 2},
    "2200": {"start_time_unix_nano": 7_258_118_400_000_000_000, "end_time_unix_nano": 7_258_118_400_000_000_001},
    "2^64-1": {"start_time_unix_nano": _MAX, "end_time_unix_nano": _MAX},
    "2^63": {"start_time_unix_nano": 2**63, "end_time_unix_nano": 2**63 + 1},
    "from-1970-to-the-end": {"start_time_unix_nano": 1, "end_time_unix_nano": _MAX},
    "no-times": {"start_time_unix_nano": 0, "end_time_unix_nano": 0},
    "nul": {"name": "a\0b", "attributes": _one("k\0", _text("v\0")), "trace_state": "a\0=b"},
    "ansi": {
        "name": "\x1b[31mred\x1b]0;title\x07\r\n\x9b2J\u202egnol",
        "attributes": _one("\x1b[2J", _text("\x1b[2J")),
    },
    "markup": {
        "name": "[bold]x[/] [/]",
        "status": Status(code=Status.STATUS_CODE_ERROR, message="[/red] [link=file:///]"),
    },
    "proto-keys": {"attributes": [KeyValue(key=k, value=_text("x")) for k in ("__proto__", "constructor")]},
    "empty": {"name": "", "attributes": [KeyValue(), KeyValue(key="", value=AnyValue()), KeyValue(key="no value")]},
    "twice": {"attributes": [*_one("k", _text("1")), *_one("k", _text("2"))]},
    "enums": {"kind": 42, "status": Status(code=99), "flags": 2**32 - 1},  # type: ignore[arg-type]
    "bad-parent": {"parent_span_id": b"abc"},
    "own-parent": {"parent_span_id": b"o" * 8},
    "bad-link": {"links": [Span.Link(trace_id=b"x", span_id=b"")], "events": [Span.Event(time_unix_nano=_MAX)]},
    "ints": {"attributes": [*_one("a", AnyValue(int_value=-(2**63))), *_one("b", AnyValue(int_value=2**63 - 1))]},
    "tokens": {"attributes": _one("gen_ai.usage.input_tokens", AnyValue(int_value=2**63 - 1))},
    "negative-tokens": {"attributes": _one("gen_ai.usage.output_tokens", AnyValue(int_value=-5))},
    "wrong-types": {
        "attributes": [
            *_one("gen_ai.request.model", AnyValue(array_value=ArrayValue(values=[_text("x")]))),
            *_one("gen_ai.usage.input_tokens", _text("many")),
            *_one("session.id", AnyValue(kvlist_value=KeyValueList(values=_one("a", _text("b"))))),
            *_one("user.id", AnyValue(double_value=math.nan)),
        ]
    },
    "8-mb": {"attributes": _one("input.value", _text("prose " * 1_400_000))},
    "long-name": {"name": "n" * 1_000_000, "attributes": _one("session.id", _text("s" * 100_000))},
    "many-events": {"events": [Span.Event(name="e", time_unix_nano=n) for n in range(20_000)]},
}

_SHOWN = ("ansi", "nul", "markup", "own-parent", "long-name", "from-1970-to-the-end", "tokens", "empty")


def _span(name: str, trace: bytes, span_id: bytes, fields: dict[str, Any]) -> Span:
    usual = {"name": name, "start_time_unix_nano": _NOW, "end_time_unix_nano": _NOW + 1000}
    return Span(trace_id=trace, span_id=span_id, **{**usual, **fields})


def _id(case: str, letter: str) -> bytes:
    return letter.encode() + f"{zlib.crc32(case.encode()):015d}".encode()


def _request(spans: list[bytes]) -> bytes:
    """Return a request of encoded spans, so that they can be such as no library would encode."""
    scope = b"".join(_field(2, span) for span in spans)
    return _field(1, _field(2, scope))


def _field(number: int, value: bytes) -> bytes:
    length, out = len(value), bytearray([number << 3 | 2])
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*out, length]) + value


def _neighbours(case: str) -> list[bytes]:
    """Return two good spans of one trace, to stand before and after an odd one."""
    return [_span("good", _id(case, "g"), bytes([n] * 8), {}).SerializeToString() for n in (1, 2)]


def _post(server: RunningServer, body: bytes, media_type: str = _PROTOBUF, **headers: str) -> httpx.Response:
    url = f"{server.endpoints()['otlp_http']}/v1/traces"
    return httpx.post(url, content=body, headers={"content-type": media_type, **headers}, timeout=30)


def _send(server: RunningServer, body: bytes, media_type: str = _PROTOBUF) -> httpx.Response:
    """Send a request that must be taken, and wait until it can be read."""
    answer = _post(server, body, media_type)
    assert answer.status_code == 200, answer.text
    receipt = f"/api/v1/receipts/{answer.headers['agenttrace-receipt']}"
    until(lambda: server.get(receipt)["readable"], 20)
    return answer


def _read_everywhere(server: RunningServer, trace_id: str, spans: int) -> Any:
    """Read a trace in every way that there is, and return it as OTLP/JSON."""
    assert [item["spans"] for item in server.traces() if item["trace_id"] == trace_id] == [spans]
    answer = server.get(f"/api/v1/traces/{trace_id}")
    assert len(answer["spans"]) == answer["summary"]["spans"] == spans
    for span in answer["spans"]:
        assert _deep_json(server, f"/api/v1/traces/{trace_id}/spans/{span['span_id']}")["trace_id"] == trace_id
    return _deep_json(server, f"/api/v1/traces/{trace_id}?format=otlp")


def _deep_json(server: RunningServer, path: str) -> Any:
    """Return the JSON at a path of the API. Python's own reader recurses, which is no fault of the answer."""
    answer = httpx.get(server.endpoints()["api"] + path, timeout=30)
    assert answer.status_code == 200, answer.text
    return json_text.loads(answer.content)


def _good(server: RunningServer, case: str) -> None:
    assert len(server.get(f"/api/v1/traces/{_id(case, 'g').hex()}")["spans"]) == 2, "the neighbours were lost"


@pytest.mark.parametrize("case", _ODD)
def test_an_odd_span_is_kept_and_read_in_every_way(hostile: RunningServer, case: str) -> None:
    """Lost: a span that a reader cannot show takes the trace, the list or the server with it."""
    odd = _span("odd", _id(case, "o"), b"o" * 8, _ODD[case])
    before, after = _neighbours(case)
    assert _send(hostile, _request([before, odd.SerializeToString(), after])).content == b""
    _good(hostile, case)
    answered = _read_everywhere(hostile, _id(case, "o").hex(), 1)
    [back] = [s for r in answered["resourceSpans"] for scope in r["scopeSpans"] for s in scope["spans"]]
    assert back.get("name", "") == odd.name
    assert int(back.get("startTimeUnixNano", 0)) == odd.start_time_unix_nano
    assert [pair.get("key", "") for pair in back.get("attributes", [])] == [pair.key for pair in odd.attributes]


def _deep(levels: int) -> bytes:
    value = _field(1, b"x")
    for _ in range(levels):
        value = _field(5, _field(1, value))
    return _field(9, _field(1, b"deep") + _field(2, value))


_RAW = {
    "5000-deep": _deep(5000),
    "wide": _field(9, _field(1, b"kk") + _field(2, _field(1, b"vv"))) * 300_000,
    "bad-utf8": _field(5, b"\xff\xfe") + _field(9, _field(1, b"\xff") + _field(2, _field(1, b"\xc3("))),
    "unknown-fields": b"\xa2\x06\x05later" + b"\xf8\x7f\x01",
    "name-twice": _field(5, b"one") + _field(5, b"two"),
}


@pytest.mark.parametrize("case", _RAW)
def test_a_span_that_no_library_would_encode_is_kept_and_read(hostile: RunningServer, case: str) -> None:
    """Lost: depth, width or bytes that are no text end a reader that recurses or believes."""
    odd = _span("", _id(case, "o"), b"o" * 8, {}).SerializeToString() + _RAW[case]
    before, after = _neighbours(case)
    _send(hostile, _request([before, odd, after]))
    _good(hostile, case)
    _read_everywhere(hostile, _id(case, "o").hex(), 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"trace_id": b""}, {"trace_id": b"x" * 15}, {"trace_id": bytes(16)}, {"trace_id": b"x" * 17},
        {"span_id": b""}, {"span_id": bytes(8)}, {"span_id": b"x" * 9},
    ],
    ids=str,
)  # fmt: skip
def test_a_span_without_an_id_is_refused_alone(hostile: RunningServer, fields: dict[str, Any]) -> None:
    """Lost: the neighbours of a span that cannot be found again, or the reason for its refusal."""
    case = f"id {fields}"
    odd = Span(**{"trace_id": _id(case, "o"), "span_id": b"o" * 8, "name": "odd", **fields})
    before, after = _neighbours(case)
    answer = _send(hostile, _request([before, odd.SerializeToString(), after]))
    assert b"1 of 3 spans refused" in answer.content
    _good(hostile, case)


_TEXT = {
    "lone-surrogate": r'"name":"\ud800 lone","attributes":[{"key":"\udfff","value":{"stringValue":"\ud83d"}}]',
    "nul": r'"name":"nul \u0000"',
    "nan": '"attributes":[{"key":"n","value":{"doubleValue":NaN}},{"key":"m","value":{"doubleValue":"-Infinity"}}]',
    "huge-number": '"startTimeUnixNano":1e400',
    "too-large-number": f'"startTimeUnixNano":"{2**64}"',
    "wrong-type": '"attributes":5,"name":["a"]',
    "proto": '"__proto__":{"polluted":1},"attributes":[{"key":"__proto__","value":{"kvlistValue":{"values":[]}}}]',
    "two-values": '"attributes":[{"key":"a","value":{"stringValue":"x","intValue":"1"}}]',
    "deep": '"attributes":[{"key":"d","value":' + '{"arrayValue":{"values":[' * 5000 + "{}" + "]}}" * 5000 + "}]",
    "deep-unknown": '"later":' + "[" * 900 + "]" * 900,
    "int-too-large": f'"attributes":[{{"key":"n","value":{{"intValue":"{2**64}"}}}}]',
    "name-twice": '"name":"one","name":"two"',
}


@pytest.mark.parametrize("door", ["otlp", "api"])
@pytest.mark.parametrize("case", _TEXT)
def test_odd_json_is_kept_or_refused_alone(hostile: RunningServer, case: str, door: str) -> None:
    """Lost: the neighbours of a span that only JSON can spoil."""
    trace, good = _id(case + door, "o").hex(), _id(case + door, "g").hex()
    odd = f'{{"traceId":"{trace}","spanId":"{"0f" * 8}",{_TEXT[case]}}}'
    beside = [f'{{"traceId":"{good}","spanId":"{str(n) * 16}","name":"good"}}' for n in (1, 2)]
    body = f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{beside[0]},{odd},{beside[1]}]}}]}}]}}'.encode()
    if door == "api":
        url = f"{hostile.endpoints()['api']}/api/v1/traces"
        answer = httpx.post(url, content=body, headers={"content-type": _JSON}, timeout=30)
        assert answer.status_code == 200, answer.text
        until(lambda: hostile.get(f"/api/v1/receipts/{answer.headers['agenttrace-receipt']}")["readable"], 20)
    else:
        answer = _send(hostile, body, _JSON)
    _good(hostile, case + door)
    if "partialSuccess" in answer.json():
        assert answer.json()["partialSuccess"]["errorMessage"]
    else:
        _read_everywhere(hostile, trace, 1)


def _bomb(encoding: str) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj() if encoding == "zstd" else zlib.compressobj(wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()


_BODIES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "corrupt": (b"\x0a\xff\xff\xff\x7f", {}, 400),
    "cut-off": (_request([b"x" * 100])[:-50], {}, 400),
    "no-json": (b'{"resourceSpans":[', {"content-type": _JSON}, 400),
    "deep-json": (b"[" * 500_000, {"content-type": _JSON}, 400),
    "no-gzip": (b"rubbish", {"content-encoding": "gzip"}, 400),
    "gzip-bomb": (_bomb("gzip"), {"content-encoding": "gzip"}, 413),
    "zstd-bomb": (_bomb("zstd"), {"content-encoding": "zstd"}, 413),
    "100-mb": (_request([_field(5, bytes(100 << 20))]), {}, 413),
    "brotli": (b"x", {"content-encoding": "br"}, 415),
    "xml": (b"<x/>", {"content-type": "text/xml"}, 415),
}


@pytest.mark.parametrize("path", ["otlp", "api"])
@pytest.mark.parametrize("case", _BODIES)
def test_a_body_that_cannot_be_read_is_refused_with_a_reason(hostile: RunningServer, case: str, path: str) -> None:
    """Lost: the server's memory, or the sender's chance to learn what is wrong."""
    body, headers, status = _BODIES[case]
    at = hostile.endpoints()
    url = f"{at['otlp_http']}/v1/traces" if path == "otlp" else f"{at['api']}/api/v1/traces"
    try:
        answer = httpx.post(url, content=body, headers={"content-type": _PROTOBUF, **headers}, timeout=30)
    except httpx.WriteError:
        # Refused by its announced length while it was being sent: the answer may have crossed with the bytes.
        assert case == "100-mb"
    else:
        assert answer.status_code == status, answer.text
        assert len(answer.content) > 10
    for part in ("ingest", "query"):
        peak = Path(f"/proc/{hostile.pid_of(part)}/status").read_text().partition("VmHWM:")[2].split()[0]
        assert int(peak) < 1 << 20, f"{part} took {peak} KiB"


@pytest.mark.parametrize("path", ["otlp_http", "api"])
def test_a_half_closed_sender_gets_its_answer_and_a_cut_off_one_none(hostile: RunningServer, path: str) -> None:
    """Lost: the answer to a sender that says early that it has said all."""
    at = urlsplit(hostile.endpoints()[path])
    target = "/v1/traces" if path == "otlp_http" else "/api/v1/traces"
    body = _request(_neighbours(f"half-closed {path}"))
    head = f"POST {target} HTTP/1.1\r\nhost: {at.netloc}\r\ncontent-type: {_PROTOBUF}\r\ncontent-length: "
    for told, expected in ((len(body), b" 200 "), (len(body) + 10, b"")):
        with socket.create_connection((at.hostname, at.port), timeout=10) as sender:
            sender.sendall(f"{head}{told}\r\n\r\n".encode() + body)
            sender.shutdown(socket.SHUT_WR)
            answer = sender.recv(65536)
        assert (expected in answer) if expected else (b" 200 " not in answer)


def test_after_all_of_it_the_export_holds_every_trace_once(hostile: RunningServer, tmp_path: Path) -> None:
    """Lost: one span that cannot be written out ends the export for all."""
    file = tmp_path / "all.jsonl"
    hostile.cli(["export", "-o", str(file)])
    with file.open("rb") as lines:
        ids = [
            {
                span["traceId"]
                for r in json_text.loads(line)["resourceSpans"]
                for s in r["scopeSpans"]
                for span in s["spans"]
            }
            for line in lines
        ]
    assert all(len(one) == 1 for one in ids)
    found = [trace_id for one in ids for trace_id in one]
    assert sorted(found) == sorted(item["trace_id"] for item in hostile.traces())
    assert '"level": "error"' not in hostile.log(), hostile.log()


def test_after_all_of_it_the_terminal_shows_them_and_obeys_none(hostile: RunningServer) -> None:
    """Lost: the terminal of whoever looks, to whoever may send a span; or the sight of all traces to one of them."""
    shown = [hostile.cli(["traces", "-n", "1000"])]
    shown += [hostile.cli(["trace", _id(case, "o").hex()]) for case in _SHOWN]
    assert len(shown[0].splitlines()) >= len(hostile.traces())
    for screen in shown:
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", screen)
