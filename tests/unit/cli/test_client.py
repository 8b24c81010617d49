"""Commands against a server that answers as real ones do on bad days."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agenttrace_server.cli.main import run

Answer = tuple[int, dict[str, str], object]


class Scripted:
    """A server whose answers a test writes: ``answer(method, path, body)``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.keys: set[str | None] = set()
        self.answer: Callable[[str, str, bytes], Answer] = lambda *_: (200, {}, {})
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                scripted.asked.append((self.command, self.path, body))
                scripted.keys.add(self.headers.get("authorization"))
                status, headers, value = scripted.answer(self.command, self.path, body)
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                for name, text in {
                    "content-type": "application/json",
                    "content-length": str(len(data)),
                    **headers,
                }.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = respond  # noqa: N815 - http.server's names

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def bodies(self) -> list[Any]:
        return [json.loads(body) for method, path, body in self.asked if method == "POST"]


@pytest.fixture
def server() -> Generator[Scripted]:
    """A server with scripted answers."""
    scripted = Scripted()
    yield scripted
    scripted.close()


def spans_file(folder: Path, *names: str) -> str:
    path = folder / "spans.jsonl"
    requests = [{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": name}]}]}]} for name in names]
    path.write_text("".join(json.dumps(request) + "\n" for request in requests))
    return str(path)


def names_in(request: Any) -> list[str]:
    parts = request["resourceSpans"]
    return [span["name"] for part in parts for scope in part["scopeSpans"] for span in scope["spans"]]


def test_import_comes_again_when_the_server_says_so(
    server: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost: an import that overruns a busy server gives up, and the rest of the file is not sent."""
    answers = iter([(429, {"retry-after": "0"}, {}), (503, {"retry-after": "0"}, {}), (200, {}, {})])
    server.answer = lambda method, *_: next(answers) if method == "POST" else (200, {}, {})
    monkeypatch.setenv("AGENTTRACE_API_KEY", "at_x_y")
    assert run(["import", "--api", server.url, spans_file(tmp_path, "a", "b")]) == 0
    assert [names_in(body) for body in server.bodies()] == 3 * [["a", "b"]]
    assert server.keys == {"Bearer at_x_y"}
    assert "2 spans sent" in capsys.readouterr().out


def test_import_says_at_once_that_no_server_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lost: two minutes, for whoever mistyped an address."""
    began = time.monotonic()
    assert run(["import", "--api", "http://127.0.0.1:1", spans_file(tmp_path, "a")]) == 1
    assert time.monotonic() - began < 10
    assert "cannot be reached" in capsys.readouterr().err


def test_import_finds_the_one_span_that_is_too_long(
    server: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lost: because of one giant, its neighbours in the request, or the command never ends."""

    def answer(method: str, path: str, body: bytes) -> Answer:
        return (413, {}, {"message": "at most 20971520 bytes"}) if b"giant" in body else (200, {}, {})

    server.answer = answer
    assert run(["import", "--api", server.url, spans_file(tmp_path, "a", "b", "giant", "c")]) == 1
    accepted = [names_in(body) for body in server.bodies() if "giant" not in names_in(body)]
    assert sorted(name for names in accepted for name in names) == ["a", "b", "c"]
    said = capsys.readouterr().out
    assert "3 spans sent" in said
    assert "at most 20971520 bytes" in said


def test_import_tells_what_was_partly_refused(
    server: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lost: spans that a server left out are counted as sent."""
    partial = {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "span id of zeros \x1b[31m"}}
    server.answer = lambda *_: (200, {}, partial)
    assert run(["import", "--api", server.url, spans_file(tmp_path, "a", "b", "c")]) == 1
    said = capsys.readouterr().out
    assert "2 spans sent" in said
    assert r"span id of zeros \x1b[31m" in said


def test_import_waits_until_the_receipt_says_readable(
    server: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lost: a script that imports and then reads finds nothing."""
    states = iter([False, False, True])

    def answer(method: str, path: str, body: bytes) -> Answer:
        if path.startswith("/api/v1/receipts/"):
            assert path.endswith("/r1")
            return 200, {}, {"readable": next(states)}
        return 200, {"agenttrace-receipt": "r1"}, {}

    server.answer = answer
    assert run(["import", "--api", server.url, spans_file(tmp_path, "a")]) == 0
    assert next(states, "asked to the end") == "asked to the end"
    assert "readable now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (404, {"error": {"kind": "not_found", "message": "there is no trace"}}, 1, "there is no trace"),
        (401, {"error": {"kind": "unauthenticated", "message": "a key is needed"}}, 1, "AGENTTRACE_API_KEY"),
        (500, b"<html>\x1b[2J</html>", 1, r"\x1b[2J"),
        (503, {"error": "away"}, 1, "away"),
    ],
)
def test_an_error_of_the_server_is_one_line(
    server: Scripted, status: int, body: object, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lost: the server's reason, behind a stack trace; or a hostile server's hold on the terminal."""
    server.answer = lambda *_: (status, {}, body)
    assert run(["trace", "1" * 32, "--api", server.url]) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_lists_are_read_page_by_page_up_to_the_limit(server: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    """Lost: a list that ends after its first page, or goes on for ever."""

    def answer(method: str, path: str, body: bytes) -> Answer:
        first = int(path.partition("cursor=")[2] or 0)
        items = [{"trace_id": f"{n:032x}", "name": f"n{n}", "start_ns": None} for n in range(first, first + 100)]
        return 200, {}, {"items": items, "next_cursor": str(first + 100)}

    server.answer = answer
    assert run(["traces", "--api", server.url, "-n", "250", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == [f"n{n}" for n in range(250)]
    assert len(server.asked) == 3


def test_a_short_id_must_be_unique(server: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    """Lost: another trace than the one that was meant."""
    ids = ["ab" + "0" * 30, "ab" + "1" * 30, "cd" + "0" * 30]
    summary = {"trace_id": ids[2], "name": "n", "start_ns": 0, "end_ns": 1, "spans": 1}
    span = {"span_id": "1" * 16, "name": "only", "kind": "internal", "start_ns": 0, "duration_ns": 1, "depth": 0}

    def answer(method: str, path: str, body: bytes) -> Answer:
        if path.startswith("/api/v1/traces/"):
            assert ids[2] in path
            return 200, {}, {"summary": summary, "spans": [span], "matched": 1, "next_cursor": None}
        return 200, {}, {"items": [{"trace_id": one} for one in ids], "next_cursor": None}

    server.answer = answer
    assert run(["trace", "ab", "--api", server.url]) == 2
    assert run(["trace", "ef", "--api", server.url]) == 1
    assert run(["trace", "CD", "--api", server.url]) == 0
    out, err = capsys.readouterr()
    assert "2 recent traces begin with ab" in err
    assert "only" in out


def test_an_export_cut_short_leaves_no_file(server: Scripted, tmp_path: Path) -> None:
    """Lost: half an export that looks like a whole one."""
    target = tmp_path / "out.jsonl"
    server.answer = lambda *_: (200, {"content-length": "100", "connection": "close"}, b'{"n":1}\n{"n":2}\n')
    assert run(["export", "--api", server.url, "-o", str(target)]) == 1
    assert list(tmp_path.iterdir()) == []
    server.answer = lambda *_: (200, {}, b'{"n":1}\n{"n":2}\n{"n":3}\n')
    assert run(["export", "--api", server.url, "-o", str(target), "-n", "2"]) == 0
    assert target.read_bytes() == b'{"n":1}\n{"n":2}\n'
    assert run(["export", "--api", server.url, "-o", str(target)]) == 0
    assert target.read_bytes() == b'{"n":1}\n{"n":2}\n{"n":3}\n'


def test_dead_letters_are_listed_replayed_and_dropped(server: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    """Lost: what was refused can be neither looked at nor sent again."""
    letter = {"id": "0-17", "received_ns": 0, "signal": "traces", "spans": 2, "reason": "bad \x1b[1m id"}
    server.answer = lambda method, *_: (200, {}, {"items": [letter], "next_cursor": None, "accepted": 2})
    assert run(["dead-letters", "list", "--api", server.url]) == 0
    assert r"bad \x1b[1m id" in capsys.readouterr().out
    assert run(["dead-letters", "replay", "0-17", "--api", server.url]) == 0
    assert run(["dead-letters", "drop", "0-17", "--api", server.url]) == 0
    assert [(method, path) for method, path, _ in server.asked[1:]] == [
        ("POST", "/api/v1/dead-letters/0-17/replay"),
        ("DELETE", "/api/v1/dead-letters/0-17"),
    ]
