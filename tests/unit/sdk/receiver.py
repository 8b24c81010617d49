"""A receiver of OTLP/HTTP on the loopback: keeps what it is sent, and answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Answer:
    """A status, headers and a body, after so many seconds."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Receiver:
    """What came, in order; ``answer`` says what to answer to a body."""

    url: str = ""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[str, bytes], Answer] = lambda _path, _body: Answer()

    @property
    def spans(self) -> list[Any]:
        """The spans of requests that were answered with 200."""
        found = []
        for path, _, body in self.requests:
            if path == "/v1/traces":
                request = ExportTraceServiceRequest.FromString(body)
                found += [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
        return found

    @property
    def records(self) -> list[Any]:
        """The log records that came."""
        found = []
        for path, _, body in self.requests:
            if path == "/v1/logs":
                request = ExportLogsServiceRequest.FromString(body)
                found += [x for r in request.resource_logs for scope in r.scope_logs for x in scope.log_records]
        return found


def attributes(span: Any) -> dict[str, Any]:
    """Return a span's attributes as plain values."""
    return {a.key: _plain(a.value) for a in span.attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


@contextmanager
def receiving(answer: Callable[[str, bytes], Answer] | None = None) -> Generator[Receiver]:
    """Run a receiver on a free port."""
    receiver = Receiver()
    if answer is not None:
        receiver.answer = answer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = receiver.answer(self.path, body)
            if answer.status == 200:
                receiver.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
