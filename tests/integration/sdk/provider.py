"""A stand-in on the loopback for a provider of models: answers in OpenAI's protocol, from a script or recordings."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass
class Provider:
    """Where it listens, and what it was asked. ``script`` is answered in turn, the last one again and again."""

    url: str = ""
    script: list[Json] = field(default_factory=list)
    recorded: dict[tuple[str, str], Json] = field(default_factory=dict)
    asked: list[Json] = field(default_factory=list)

    def answer(self, path: str, body: Json) -> Json:
        """Return an exchange: ``status``, ``response_body`` or ``response_sse``."""
        self.asked.append(body)
        found = self.recorded.get((path, _canonical(body)))
        if found is None and self.script:
            found = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return found or {"status": 501, "response_body": {"error": {"message": "nothing recorded", "type": "replay"}}}


def completion(content: str | None = None, *, calls: Iterable[tuple[str, Json]] = (), **usage: int) -> Json:
    """Return an answer of chat completions."""
    tool_calls = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for name, arguments in calls
    ]
    message = {"role": "assistant", "content": content} | ({"tool_calls": tool_calls} if tool_calls else {})
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if tool_calls else "stop"}
    counts = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16} | usage
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18",
            "choices": [choice], "usage": counts}  # fmt: skip
    return {"status": 200, "response_body": body}


def stream(*pieces: str) -> Json:
    """Return a streamed answer of chat completions, whose last chunk has the usage."""
    base = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
    chunks: list[Json] = [
        base | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}]}
        for piece in pieces
    ]
    chunks.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 7, "completion_tokens": len(pieces), "total_tokens": 7 + len(pieces)}
    chunks.append(base | {"choices": [], "usage": usage})
    return {
        "status": 200,
        "response_sse": [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"],
    }


@contextmanager
def providing(*script: Json, recorded: Iterable[Mapping[str, Any]] = ()) -> Generator[Provider]:
    """Run a provider on a free port."""
    provider = Provider(script=list(script))
    for exchange in recorded:
        key = exchange["path"].partition("?")[0], _canonical(exchange["request_body"])
        provider.recorded.setdefault(key, dict(exchange))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            exchange = provider.answer(self.path.partition("?")[0], body)
            self.send_response(exchange["status"])
            if "response_sse" in exchange:
                self._events(exchange["response_sse"])
                return
            answer = exchange["response_body"]
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _events(self, events: list[str]) -> None:
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            try:
                for event in events:
                    data = (event if event.endswith("\n\n") else event.rstrip("\n") + "\n\n").encode()
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")
            except OSError:  # the program has let go of the stream
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A program that breaks off is what some tests do."""

    server = Server(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()


def _canonical(body: Any) -> str:
    if isinstance(body, dict):
        body = {key: value for key, value in body.items() if not (key == "stream" and value is False)}
    return json.dumps(body, sort_keys=True)
