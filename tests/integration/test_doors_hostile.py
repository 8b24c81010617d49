"""Bad input and bad clients: a clear error or a stored span, never a hang, unbounded memory or a lost neighbour."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import resource
import struct
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import zstandard
from google.rpc.status_pb2 import Status
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from agenttrace_server.ingestion.config import DoorConfig
from tests.integration.doors import JSON, PROTOBUF, Door, open_door, request, span, spans_of

pytestmark = pytest.mark.anyio

_LIMIT = 20 << 20
_GOOD = request(span(99))


def _head(length: int | str, **headers: str) -> bytes:
    lines = {"host": "localhost", "content-type": PROTOBUF, "content-length": str(length), **headers}
    text = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items() if value)
    return f"POST /v1/traces HTTP/1.1\r\n{text}\r\n".encode()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _still_serves(door: Door) -> None:
    before = len(await door.records())
    assert (await door.post(_GOOD)).status_code == 200
    assert len(await door.records()) == before + 1


def _bomb(encoding: str, size: int) -> bytes:
    if encoding == "zstd":
        packer = zstandard.ZstdCompressor().compressobj()
        return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    packer_z = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    return b"".join(packer_z.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer_z.flush()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
async def test_a_bomb_is_413_and_costs_little_memory(door: Door, encoding: str) -> None:
    """A few hundred kilobytes must not become a gigabyte in the server."""
    bomb = _bomb(encoding, 1 << 30)
    before = _peak_mib()
    response = await door.post(bomb, content_encoding=encoding)
    assert response.status_code == 413
    assert _peak_mib() - before < 150
    await _still_serves(door)


async def test_a_zstd_window_too_large_to_hold_is_refused(door: Door) -> None:
    """A frame may ask its reader for gigabytes of window in a dozen bytes."""
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00"
    assert (await door.post(frame, content_encoding="zstd")).status_code == 400
    long_window = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    ).compressobj()
    body = long_window.compress(_GOOD) + long_window.flush()
    assert (await door.post(body, content_encoding="zstd")).status_code == 200


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(_GOOD, mtime=0)[:-4]),
        ("gzip", gzip.compress(_GOOD, mtime=0) + b"rubbish"),
        ("gzip", gzip.compress(b"") * 5000),
        ("deflate", zlib.compress(_GOOD)[:-4]),
        ("deflate", zlib.compress(_GOOD) + b"more"),
        ("zstd", zstandard.ZstdCompressor().compress(_GOOD)[:-3]),
        ("zstd", zstandard.ZstdCompressor().compress(_GOOD) + b"rubbish"),
        ("zstd", b"rubbish"),
        ("gzip", _GOOD),
    ],
)
async def test_a_damaged_or_cut_off_encoding_is_400(door: Door, encoding: str, body: bytes) -> None:
    """Half a body that still parses must not be acknowledged as the whole."""
    response = await door.post(body, content_encoding=encoding)
    assert response.status_code == 400
    assert await door.records() == []


async def test_a_declared_length_above_the_limit_is_413_before_a_byte_is_read(door: Door) -> None:
    """A 100 MB attribute is refused by its announcement, and the connection is not left hanging."""
    async with door.connect() as client:
        await client.send(_head(100 << 20))
        head = await client.head()
    assert head.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in head.lower()


async def test_a_100_mb_attribute_is_413_and_the_sender_hears_it(door: Door) -> None:
    """A client that is cut off while it sends sees a broken pipe, and would send the same for ever."""
    big = span(1, attributes=[KeyValue(key="big", value=AnyValue(string_value="x" * 100_000_000))])
    body = request(big)
    before = _peak_mib()
    response = await door.post(body)
    assert response.status_code == 413
    assert str(_LIMIT) in Status.FromString(response.content).message
    assert _peak_mib() - before < 250, "the refused body was kept"
    await _still_serves(door)


async def test_chunks_are_counted_as_they_come(door: Door) -> None:
    """A chunked body announces no length, and must be bounded all the same."""

    async def endless(mebibytes: int) -> AsyncIterator[bytes]:
        for _ in range(mebibytes):
            yield bytes(1 << 20)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(_GOOD), 7):
            yield _GOOD[at : at + 7]

    assert (
        await door.client.post("/v1/traces", content=endless(60), headers={"content-type": PROTOBUF})
    ).status_code == 413
    assert (
        await door.client.post("/v1/traces", content=pieces(), headers={"content-type": PROTOBUF})
    ).status_code == 200
    [record] = await door.records()
    assert record.body == _GOOD


async def test_a_slow_body_is_408_and_frees_what_it_held() -> None:
    """A client that sends a byte a minute must not hold memory and a connection for ever."""
    async with open_door(DoorConfig(body_timeout_s=0.3)) as door, door.connect() as client:
        await client.send(_head(1000) + b"\x0a")
        assert (await client.head()).startswith(b"HTTP/1.1 408")
        assert door.admission.in_flight == 0
        await _still_serves(door)


async def test_a_connection_that_sends_no_whole_request_is_closed() -> None:
    """Slow loris: connections that say nothing, and heads that never end."""
    config = DoorConfig(connection_timeout_s=0.5)
    async with open_door(config) as door, door.connect() as silent, door.connect() as dripping:
        began = time.monotonic()
        await dripping.send(b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nx-")
        with pytest.raises(ConnectionError):  # noqa: PT012 - it fails at one of the writes
            for _ in range(30):
                await dripping.send(b"y")
                await asyncio.sleep(0.05)
        assert await silent.read() == b""
        assert time.monotonic() - began < 3
        await _still_serves(door)


async def test_a_body_that_drips_on_after_its_refusal_is_cut_off() -> None:
    """The answer is given; what still comes is thrown away, and not for ever."""
    config = DoorConfig(connection_timeout_s=0.5)
    async with open_door(config) as door, door.connect() as client:
        await client.send(_head(10_000, content_type="text/plain"))
        assert (await client.head()).startswith(b"HTTP/1.1 415")
        with pytest.raises(ConnectionError):  # noqa: PT012 - it fails at one of the writes
            for _ in range(60):
                await client.send(b"y")
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("line", [b"x-long: " + b"y" * 70_000, b"x: y\r\n" * 12_000])
async def test_a_head_of_any_length_is_not_kept(door: Door, line: bytes) -> None:
    """Headers are kept in memory before anything of a request is known."""
    async with door.connect() as client:
        await client.send(b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\n")
        await asyncio.sleep(0.05)
        await client.send(line)
        assert (await client.read()).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(("start", "more"), [(b"0\r\n", b"x: " + b"y" * 65_000 + b"\r\n"), (b"1;", b"y" * 65_000)])
async def test_endless_trailers_and_chunk_extensions_are_cut_off(door: Door, start: bytes, more: bytes) -> None:
    """After the last chunk a client may go on with trailers, which no length announces."""
    async with door.connect() as client:
        await client.send(_head("", transfer_encoding="chunked") + start)
        with pytest.raises(ConnectionError):  # noqa: PT012 - it fails at one of the writes
            for _ in range(200):
                await client.send(more)
                await asyncio.sleep(0)
    await _still_serves(door)


async def test_a_client_that_closes_its_sending_side_gets_its_answer(door: Door) -> None:
    """A half-closed connection still waits for the acknowledgement; without it the spans are sent twice."""
    door.queue.gate.clear()
    async with door.connect() as client:
        await client.send(_head(len(_GOOD)) + _GOOD)
        client.half_close()
        await asyncio.sleep(0.1)
        door.queue.gate.set()
        answer = await client.read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"agenttrace-receipt" in answer
    assert len(await door.records()) == 1


async def test_a_request_cut_off_in_its_body_stores_nothing(door: Door) -> None:
    """Half a request may parse, and would be acknowledged to nobody."""
    for half_close in (True, False):
        async with door.connect() as client:
            await client.send(_head(len(_GOOD) * 2) + _GOOD)
            await asyncio.sleep(0.05)
            if half_close:
                client.half_close()
                assert await client.read() == b""
    await asyncio.sleep(0.05)
    assert await door.records() == []
    await _still_serves(door)


async def test_pipelined_requests_are_answered_in_order(door: Door) -> None:
    """HTTP/1.1 allows them, and some proxies send them."""
    first, second = request(span(1)), request(span(2))
    async with door.connect() as client:
        await client.send(_head(len(first)) + first + _head(len(second)) + second)
        client.half_close()
        assert (await client.read()).count(b"HTTP/1.1 200") == 2
    assert [s.name for s in spans_of(await door.records())] == ["span 1", "span 2"]


@pytest.mark.parametrize(
    "rubbish", [b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 100, b"GET\r\n\r\n"]
)
async def test_rubbish_instead_of_http_is_refused(door: Door, rubbish: bytes) -> None:
    """Port scanners, TLS clients and gRPC clients find this port."""
    async with door.connect() as client:
        await client.send(rubbish)
        client.half_close()
        answer = await client.read()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    await _still_serves(door)


async def test_too_large_by_a_hair_and_just_small_enough(door: Door) -> None:
    """The limit is what the documentation says, to the byte."""
    room = _LIMIT - len(_GOOD)
    filler = b"\xfa\x3f" + _varint(room - 2 - 4) + bytes(room - 2 - 4)
    assert len(_GOOD + filler) == _LIMIT
    assert (await door.post(_GOOD + filler)).status_code == 200
    assert (await door.post(_GOOD + filler + b"\0")).status_code == 413


async def test_attributes_5000_deep_are_stored_or_told(door: Door) -> None:
    """Nesting must cost neither a stack nor the neighbours, in either encoding."""
    value = b"\x0a\x01x"  # AnyValue.string_value
    for _ in range(5000):
        inner = b"\x0a" + _varint(len(value)) + value  # ArrayValue.values
        value = b"\x2a" + _varint(len(inner)) + inner  # AnyValue.array_value
    attribute = b"\x0a\x04deep\x12" + _varint(len(value)) + value
    deep = span(1).SerializeToString() + b"\x4a" + _varint(len(attribute)) + attribute
    scope = b"".join(b"\x12" + _varint(len(s)) + s for s in (deep, span(2).SerializeToString()))
    resource_spans = b"\x12" + _varint(len(scope)) + scope
    body = b"\x0a" + _varint(len(resource_spans)) + resource_spans
    assert (await door.post(body)).status_code == 200
    [record] = await door.records()
    assert record.body == body

    nested = '{"arrayValue":{"values":[' * 5000 + '{"stringValue":"x"}' + "]}}" * 5000
    text = _json_spans('"attributes":[{"key":"deep","value":' + nested + "}]")
    response = await door.post(text, JSON)
    assert response.status_code == 200
    assert len(await door.records()) == 2, "the neighbour was lost"


async def test_a_million_attributes_are_stored_or_told_in_bounded_time(door: Door) -> None:
    """One span of many small parts is the dearest input for its size."""
    pair = b"\x4a\x0a\x0a\x02kk\x12\x04\x0a\x02vv"
    wide = span(1).SerializeToString() + pair * 1_000_000
    scope = b"\x12" + _varint(len(wide)) + wide
    resource_spans = b"\x12" + _varint(len(scope)) + scope
    body = b"\x0a" + _varint(len(resource_spans)) + resource_spans
    began = time.monotonic()
    response = await door.post(body)
    assert response.status_code == 200
    assert time.monotonic() - began < 10
    assert [len(record.body) for record in await door.records()] == [len(body)]
    await _still_serves(door)


async def test_strange_values_are_stored_as_they_are(door: Door) -> None:
    """NaN, end before start, 1970 and 2200, NUL: odd spans are kept and flagged, not refused."""
    odd = [
        span(1, attributes=[KeyValue(key="nan", value=AnyValue(double_value=math.nan))]),
        span(2, start_time_unix_nano=2_000, end_time_unix_nano=1_000),
        span(3, start_time_unix_nano=1),
        span(4, start_time_unix_nano=7_258_118_400_000_000_000, end_time_unix_nano=0),
        span(5, name="a\0b"),
        span(6, parent_span_id=b"abc"),
        span(7, kind=42),
    ]
    body = request(*odd)
    assert (await door.post(body)).content == b""
    [record] = await door.records()
    assert record.body == body


@pytest.mark.parametrize(
    "text",
    [
        '"attributes":[{"key":"n","value":{"doubleValue":NaN}}]',
        '"attributes":[{"key":"n","value":{"doubleValue":"NaN"}}]',
        r'"name":"\ud800 lone"',
        r'"name":"nul \u0000"',
        '"attributes":[{"key":"b","value":{"bytesValue":"not base64!"}}]',
        '"attributes":5',
        '"startTimeUnixNano":"-1"',
        '"startTimeUnixNano":1e400',
        '"kind":"SPAN_KIND_SERVER"',
        '"__proto__":{"a":1}',
    ],
)
async def test_strange_json_never_costs_the_neighbour(door: Door, text: str) -> None:
    """One odd span in a JSON batch is stored or refused by itself."""
    response = await door.post(_json_spans(text), JSON)
    assert response.status_code == 200
    [record] = await door.records()
    assert b"neighbour" in record.body
    receipt = door.receipt(response.headers["agenttrace-receipt"])
    assert receipt.accepted + receipt.rejected == 2
    assert int(response.json().get("partialSuccess", {}).get("rejectedSpans", 0)) == receipt.rejected


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"null", b'{"resourceSpans":{}}', b"\xff\xfe", b"[" * 200_000, b'{"a":' * 90_000]
)
async def test_json_that_is_no_request_is_told(door: Door, body: bytes) -> None:
    """A clear 400, whatever is wrong, and no crash of a parser."""
    response = await door.post(body, JSON)
    assert response.status_code == 400
    assert json.loads(response.content)["code"] == 3
    await _still_serves(door)


async def test_random_bytes_never_break_the_door(door: Door) -> None:
    """Whatever comes, the answer is 200 or 400, and the next request is served."""
    for seed in range(200):
        body = bytearray(request(span(1), span(2)))
        for step in range(5):
            at = struct.unpack("<I", zlib.crc32(bytes([seed, step])).to_bytes(4, "little"))[0]
            body[at % len(body)] = (at >> 16) & 0xFF
        assert (await door.post(bytes(body))).status_code in {200, 400}
    await _still_serves(door)


async def test_many_slow_clients_do_not_keep_a_quick_one_waiting(door: Door) -> None:
    """Two hundred half-sent requests, and the next sender is served at once."""
    async with AsyncExitStack() as stack:
        for _ in range(200):
            client = await stack.enter_async_context(door.connect())
            await client.send(_head(50_000) + bytes(10_000))
        began = time.monotonic()
        await _still_serves(door)
        assert time.monotonic() - began < 2
    async with asyncio.timeout(30):
        while door.admission.in_flight:
            await asyncio.sleep(0.01)


def _json_spans(fields: str) -> bytes:
    odd = f'{{"traceId":"{"a" * 32}","spanId":"{"b" * 16}",{fields}}}'
    good = f'{{"traceId":"{"a" * 32}","spanId":"{"c" * 16}","name":"neighbour"}}'
    return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{odd},{good}]}}]}}]}}'.encode()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
