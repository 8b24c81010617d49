"""The OpenTelemetry SDK's own exporters, unmodified, against the doors."""

from __future__ import annotations

from collections.abc import Callable

import anyio.to_thread
import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from agenttrace_core.errors import OverloadedError
from agenttrace_server.auth import new_key
from tests.integration.doors import Door, open_door, spans_of

pytestmark = pytest.mark.anyio

_EXPORTERS: dict[str, Callable[[Door], SpanExporter]] = {
    "http": lambda d: HttpExporter(f"{d.url}/v1/traces"),
    "http-gzip": lambda d: HttpExporter(f"{d.url}/v1/traces", compression=Compression.Gzip),
    "http-deflate": lambda d: HttpExporter(f"{d.url}/v1/traces", compression=Compression.Deflate),
    "grpc": lambda d: GrpcExporter(f"http://{d.grpc}", insecure=True),
    "grpc-gzip": lambda d: GrpcExporter(f"http://{d.grpc}", insecure=True, compression=grpc.Compression.Gzip),
}


class _Recording(SimpleSpanProcessor):
    def __init__(self, exporter: SpanExporter) -> None:
        super().__init__(exporter)
        self.results: list[SpanExportResult] = []
        export = exporter.export
        exporter.export = lambda spans: self.results.append(export(spans)) or self.results[-1]  # type: ignore[method-assign, func-returns-value]


def _run_agent(exporter: SpanExporter) -> list[SpanExportResult]:
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    recording = _Recording(exporter)
    provider.add_span_processor(recording)
    tracer = provider.get_tracer("agent", "1.0", attributes={"scope": True})
    with tracer.start_as_current_span("invoke_agent"), tracer.start_as_current_span("chat") as chat:
        chat.add_event("token", {"n": 1})
        chat.set_attribute("gen_ai.usage.input_tokens", 2**62)
    provider.shutdown()
    return recording.results


@pytest.mark.parametrize("name", _EXPORTERS)
async def test_an_unmodified_exporter_delivers_everything_of_a_span(door: Door, name: str) -> None:
    """The promise on the first page: point any OpenTelemetry exporter at it."""
    results = await anyio.to_thread.run_sync(_run_agent, _EXPORTERS[name](door))
    assert results == [SpanExportResult.SUCCESS] * 2
    chat, root = spans_of(await door.records())
    assert (chat.name, root.name) == ("chat", "invoke_agent")
    assert (chat.parent_span_id, chat.trace_id) == (root.span_id, root.trace_id)
    assert chat.events[0].name == "token"
    assert chat.attributes[0].value.int_value == 2**62


@pytest.mark.parametrize("name", ["http", "grpc"])
async def test_an_exporter_comes_again_after_an_overload(door: Door, name: str) -> None:
    """Overload must cost a delay and no span: the answer has to be one that exporters retry."""
    door.queue.error = OverloadedError("busy", retry_after_s=1)

    async def recover() -> None:
        await anyio.sleep(0.5)
        door.queue.error = None

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recover)
        results = await anyio.to_thread.run_sync(_run_agent, _EXPORTERS[name](door))
    assert results == [SpanExportResult.SUCCESS] * 2
    assert len(spans_of(await door.records())) == 2


async def test_exporters_send_a_key_in_their_headers() -> None:
    """The one way to name a project that every exporter in every language has."""
    key, digest = new_key("shop")
    async with open_door(keys=[("shop", digest)]) as door:
        headers = {"authorization": f"Bearer {key}"}
        exporters = [
            HttpExporter(f"{door.url}/v1/traces", headers=headers),
            GrpcExporter(f"http://{door.grpc}", insecure=True, headers=headers),
        ]
        for exporter in exporters:
            await anyio.to_thread.run_sync(_run_agent, exporter)
        assert {record.headers.project for record in await door.records()} == {"shop"}
        assert len(await door.records()) == 4
