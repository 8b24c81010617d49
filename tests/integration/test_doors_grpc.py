"""OTLP/gRPC: what any exporter relies on, and what hostile clients try."""

from __future__ import annotations

import asyncio
import resource

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.queue import Signal
from agenttrace_core.services.admission import IngestLimits
from agenttrace_server.auth import new_key
from agenttrace_server.ingestion.config import DoorConfig
from tests.integration.doors import Door, open_door, request, span

pytestmark = pytest.mark.anyio

_TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_BODY = request(span(1), span(2))


class _Caller:
    def __init__(self, door: Door) -> None:
        self.channel = grpc.aio.insecure_channel(door.grpc, options=[("grpc.max_send_message_length", -1)])

    async def __aenter__(self) -> _Caller:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def call(
        self,
        body: bytes,
        method: str = _TRACES,
        compression: grpc.Compression | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> tuple[bytes, dict[str, str]]:
        call = self.channel.unary_unary(method)(body, compression=compression, metadata=metadata, timeout=20)
        answer = await call
        return answer, dict(await call.trailing_metadata())

    async def fail(self, body: bytes, **options: object) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(body, **options)  # type: ignore[arg-type]
        return caught.value


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_request_is_appended_as_received_with_a_receipt(
    door: Door, compression: grpc.Compression | None
) -> None:
    """The Collector's default is gzip; what is stored must be what was sent."""
    async with _Caller(door) as caller:
        answer, trailers = await caller.call(_BODY, compression=compression)
    assert answer == b""
    [record] = await door.records()
    assert record.body == _BODY
    assert door.receipt(trailers["agenttrace-receipt"]).accepted == 2


async def test_partial_success_and_an_empty_request(door: Door) -> None:
    """One bad id must not lose its neighbours, nor vanish without a word."""
    async with _Caller(door) as caller:
        answer, _ = await caller.call(request(span(1), span(2, trace_id=bytes(16))))
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
        assert (partial.rejected_spans, "all zeros" in partial.error_message) == (1, True)
        assert (await caller.call(b""))[0] == b""
    assert len(await door.records()) == 1


async def test_logs_are_taken_and_metrics_are_unimplemented(door: Door) -> None:
    """Exporters are often set up for all three signals at once."""
    message = ExportLogsServiceRequest()
    message.resource_logs.add().scope_logs.add().log_records.add(event_name="gen_ai.choice")
    async with _Caller(door) as caller:
        assert (await caller.call(message.SerializeToString(), _LOGS))[0] == b""
        assert (await caller.fail(b"", method=_METRICS)).code() is grpc.StatusCode.UNIMPLEMENTED
    assert len(await door.records(Signal.LOGS)) == 1


async def test_a_corrupt_message_is_invalid_argument(door: Door) -> None:
    """A sender must not retry what can never be taken."""
    async with _Caller(door) as caller:
        error = await caller.fail(b"\x0a\xff\xff\xff\x0f")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ExportTraceServiceRequest" in (error.details() or "")
    assert (await door.refused())[0].body == b"\x0a\xff\xff\xff\x0f"


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_message_above_the_limit_is_refused_and_a_bomb_costs_little(
    door: Door, compression: grpc.Compression | None
) -> None:
    """Compressed or not, the limit is on what would be held; and it must not be retried."""
    body = bytes(100 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with _Caller(door) as caller:
        error = await caller.fail(body, compression=compression)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "grpc-status-details-bin" not in dict(error.trailing_metadata())
        await caller.call(_BODY)
    # The sender is in this process too, and holds two copies.
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 400
    assert len(await door.records()) == 1


async def test_overload_says_when_to_come_again() -> None:
    """RESOURCE_EXHAUSTED without RetryInfo makes exporters drop the spans."""
    async with open_door(limits=IngestLimits(max_backlog_bytes=10)) as door, _Caller(door) as caller:
        error = await caller.fail(_BODY)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers = dict(error.trailing_metadata())
        retry = RetryInfo()
        assert Status.FromString(trailers["grpc-status-details-bin"]).details[0].Unpack(retry)
        assert 1 <= retry.retry_delay.seconds <= 3
        assert RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]) == retry
        assert await door.records() == []


async def test_a_queue_that_cannot_store_is_unavailable(door: Door) -> None:
    """Never acknowledged, and retried by every exporter."""
    door.queue.error = UnavailableError("the disk is full")
    async with _Caller(door) as caller:
        error = await caller.fail(_BODY)
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "the disk is full")


async def test_an_internal_failure_is_told_without_its_secrets(door: Door) -> None:
    """A bug must not hang the call, nor print its insides to a stranger."""
    door.queue.error = RuntimeError("password=hunter2")
    async with _Caller(door) as caller:
        error = await caller.fail(_BODY)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in (error.details() or "")


async def test_a_key_chooses_the_project_and_a_wrong_one_is_unauthenticated() -> None:
    """Every row is scoped by the project of the key that brought it."""
    key, digest = new_key("shop")
    async with open_door(keys=[("shop", digest)]) as door, _Caller(door) as caller:
        await caller.call(_BODY, metadata=(("authorization", f"Bearer {key}"),))
        await caller.call(_BODY)
        assert [record.headers.project for record in await door.records()] == ["shop", "default"]
        error = await caller.fail(_BODY, metadata=(("authorization", "Bearer at_shop_guess"),))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        proxied = await caller.fail(_BODY, metadata=(("x-forwarded-for", "203.0.113.9"),))
        assert proxied.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_call_that_never_sends_its_message_is_ended() -> None:
    """A stream that stays open must not hold a reader's place for ever."""
    async with open_door(DoorConfig(body_timeout_s=0.3)) as door, _Caller(door) as caller:
        call = caller.channel.stream_unary(_TRACES)()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(call, 5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await caller.call(_BODY)


async def test_stopping_lets_a_call_under_way_end(door: Door) -> None:
    """SIGTERM must not lose the acknowledgement of spans that are stored."""
    door.queue.gate.clear()
    async with _Caller(door) as caller:
        call = asyncio.ensure_future(caller.call(_BODY))
        async with asyncio.timeout(30):
            while not door.admission.in_flight:
                await asyncio.sleep(0.01)
        door.stop.set()
        await asyncio.sleep(0.2)
        assert not call.done()
        door.queue.gate.set()
        assert (await call)[0] == b""
    await asyncio.wait_for(asyncio.shield(door.task), 10)


async def test_a_browsers_request_cannot_reach_the_grpc_port(door: Door) -> None:
    """Pages speak HTTP/1.1 to a port without TLS: that is why no Host is checked on this one."""
    reader, writer = await asyncio.open_connection(*door.grpc.split(":"))
    writer.write(
        b"POST " + _TRACES.encode() + b" HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0"
    )
    answer = await asyncio.wait_for(reader.read(), 10)
    assert not answer.startswith(b"HTTP/1.1 200")
    assert await door.records() == []
    writer.close()
