"""Real doors on free ports of this machine, over a queue that a test can look into."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agenttrace_adapters.memory import MemoryQueue
from agenttrace_core.model.receipt import Receipt
from agenttrace_core.ports.queue import Headers, Position, Record, Signal
from agenttrace_core.services.admission import Admission, IngestLimits
from agenttrace_core.services.appender import Appender
from agenttrace_core.services.ingest import IngestService
from agenttrace_core.services.refusals import Refusals, RefusedInput
from agenttrace_server.auth import Authenticator
from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.ingestion.metrics import DoorMetrics
from agenttrace_server.ingestion.serve import serve

PRODUCTION_LOOP = ("asyncio", {"use_uvloop": True})
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_RECEIPT_KEY = b"r" * 32


class ScriptedQueue(MemoryQueue):
    """A queue in memory that can be told to fail, or to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return await super().append(headers, body, partition=partition)


class Connection:
    """A client that does as it likes, and never hangs a test."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(30):
            await self._loop.sock_sendall(self._socket, data)

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def read(self, until: bytes = b"") -> bytes:
        """Return what comes up to ``until``, or up to the end."""
        data = b""
        async with asyncio.timeout(30):
            while not (until and until in data):
                with suppress(ConnectionResetError):
                    if piece := await self._loop.sock_recv(self._socket, 1 << 16):
                        data += piece
                        continue
                break
        return data

    async def head(self) -> bytes:
        """Return the head of an answer."""
        return await self.read(b"\r\n\r\n")


@dataclass
class Door:
    """An open door, and what is behind it."""

    url: str
    port: int
    grpc: str
    queue: ScriptedQueue
    admission: Admission
    task: asyncio.Task[None]
    stop: asyncio.Event
    client: httpx.AsyncClient = field(repr=False)

    async def post(
        self, body: bytes, media_type: str = PROTOBUF, path: str = "/v1/traces", **headers: str
    ) -> httpx.Response:
        """Send a request; ``content_encoding="gzip"`` and the like become headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, content=body, headers={"content-type": media_type, **named})

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """Open a bare connection to the HTTP port."""
        with socket.create_connection(("127.0.0.1", self.port)) as connected:
            connected.setblocking(False)
            yield Connection(connected)

    async def records(self, signal: Signal = Signal.TRACES) -> Sequence[Record]:
        """Return what was queued of a signal."""
        records = await self.queue.read(0, 0, max_bytes=1 << 40)
        return [record for record in records if record.headers.signal is signal]

    async def refused(self, count: int = 1) -> Sequence[RefusedInput]:
        """Wait for ``count`` refusals to be queued, and return all there are."""
        async with asyncio.timeout(30):
            while len(records := await self.records(Signal.REFUSED)) < count:
                await asyncio.sleep(0.01)
        return [RefusedInput.from_record(record.body) for record in records]

    def receipt(self, receipt_id: str, project: str = "default") -> Receipt:
        """Open a receipt as the API would."""
        return Receipt.open(receipt_id, _RECEIPT_KEY, project)


@asynccontextmanager
async def open_door(
    config: DoorConfig | None = None,
    limits: IngestLimits | None = None,
    keys: Sequence[tuple[str, str]] = (),
    *,
    backlog: int | None = None,
) -> AsyncIterator[Door]:
    """Open both doors as the server does, and close them as SIGTERM does."""
    config, limits = config or DoorConfig(), limits or IngestLimits()
    queue = ScriptedQueue()
    await queue.open()
    admission = Admission(limits)
    metrics = DoorMetrics(admission)

    async def constant_backlog() -> int:
        return backlog or 0

    appender = Appender(queue)
    service = IngestService(
        appender,
        _RECEIPT_KEY,
        admission=admission,
        refusals=Refusals(appender, limits),
        metrics=metrics,
        backlog=None if backlog is None else constant_backlog,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    grpc_port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(
        serve(
            service,
            Authenticator(keys, bind_host=config.bind_host),
            config,
            metrics,
            http_socket=listener,
            grpc_address="127.0.0.1:0",
            started=grpc_port.set_result,
            stop=stop,
        )
    )
    await asyncio.wait({task, grpc_port}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            yield Door(url, port, f"127.0.0.1:{grpc_port.result()}", queue, admission, task, stop, client)
    finally:
        stop.set()
        await task


def span(number: int = 1, **fields: object) -> Span:
    """Make a span with valid ids and times."""
    defaults: dict[str, object] = {
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "name": f"span {number}",
        "start_time_unix_nano": 1_760_000_000_000_000_000 + number,
        "end_time_unix_nano": 1_760_000_001_000_000_000 + number,
    }
    return Span(**{**defaults, **fields})  # type: ignore[arg-type]


def request(*spans: Span) -> bytes:
    """Make an export request of spans."""
    message = ExportTraceServiceRequest()
    message.resource_spans.add().scope_spans.add().spans.extend(spans)
    return message.SerializeToString()


def spans_of(records: Sequence[Record]) -> list[Span]:
    """Return the spans of queued requests, in order."""
    requests = [ExportTraceServiceRequest.FromString(record.body) for record in records]
    return [s for r in requests for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]
