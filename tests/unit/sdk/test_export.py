"""If these fail, spans are lost in silence, sent twice, or the program waits for its observer."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from agenttrace import AgentTrace
from tests.unit.sdk.receiver import Answer, Receiver, attributes, receiving


def _exporter(tracer: AgentTrace) -> Any:
    return tracer._pipeline.exporter


def _spans(tracer: AgentTrace, count: int, text: str = "") -> None:
    for number in range(count):
        with tracer.span(f"s{number}") as span:
            span.set_attribute("text", text)


def test_fifty_thousand_spans_in_a_burst_arrive_once(receiver: Receiver) -> None:
    tracer = AgentTrace(receiver.url, live="none", interval_s=0.05)
    _spans(tracer, 50_000)
    assert tracer.flush(60)
    assert len({(s.trace_id, s.span_id) for s in receiver.spans}) == len(receiver.spans) == 50_000
    tracer.shutdown(2)
    assert _exporter(tracer).counts.dropped == 0


def test_what_does_not_fit_is_dropped_counted_and_told(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    for bound in ({"max_queue_spans": 10}, {"max_queue_bytes": 10 * 1_300}):
        receiver.requests.clear()
        tracer = AgentTrace(receiver.url, live="none", interval_s=60, **bound)
        with caplog.at_level(logging.WARNING, "agenttrace"):
            _spans(tracer, 25, "x" * 1_000)
        assert "too much waits to be sent" in caplog.text
        assert tracer.flush(5)
        with tracer.span("later"):
            pass
        tracer.shutdown(2)
        counts = _exporter(tracer).counts
        assert (counts.sent, counts.dropped) == (11, 15)
        told = [attributes(s)["agenttrace.sdk.dropped_spans"] for s in receiver.spans if len(s.attributes) == 2]
        assert told == [15]


def _ends(work: Callable[[], None]) -> bool:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


def test_a_log_that_makes_spans_itself_stops_nobody(receiver: Receiver) -> None:
    """A handler that sends records over an instrumented client ends a span while one is being dropped."""
    tracer = AgentTrace(receiver.url, live="none", interval_s=60, max_queue_spans=1)

    class Sending(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with tracer.span("log"):
                pass

    handler, log = Sending(), logging.getLogger("agenttrace")
    log.addHandler(handler)
    try:
        assert _ends(lambda: _spans(tracer, 3))
    finally:
        log.removeHandler(handler)
    assert _exporter(tracer).counts.dropped == 3
    tracer.shutdown(2)


def test_a_span_that_ends_when_garbage_is_collected_stops_nobody(receiver: Receiver) -> None:
    """An answer that nobody has read ends its span when it is forgotten, which may be at any line of ours."""
    tracer = AgentTrace(receiver.url, live="none", interval_s=60, max_queue_spans=100_000)

    class Forgotten:
        left = 100_000

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            if Forgotten.left:
                Forgotten.left -= 1
                with tracer.span("forgotten"):
                    pass
                Forgotten()

    def work() -> None:
        before = gc.get_threshold()
        gc.set_threshold(1, 1_000_000, 1_000_000)
        try:
            Forgotten()
            _spans(tracer, 3_000)
        finally:
            gc.set_threshold(*before)
            Forgotten.left = 0

    assert _ends(work)
    assert tracer.flush(20)
    tracer.shutdown(2)


def test_requests_stay_below_their_bound(receiver: Receiver) -> None:
    tracer = AgentTrace(receiver.url, live="none", interval_s=60, max_request_bytes=20_000)
    _spans(tracer, 50, "é" * 1_000)
    assert tracer.flush(5)
    tracer.shutdown(2)
    assert len(receiver.spans) == 50
    assert max(len(body) for *_, body in receiver.requests) < 20_500


def test_what_the_receiver_finds_too_large_is_sent_in_halves() -> None:
    def answer(_: str, body: bytes) -> Answer:
        return Answer(413 if len(body) > 5_000 else 200)

    with receiving(answer) as receiver:
        tracer = AgentTrace(receiver.url, live="none", interval_s=60)
        _spans(tracer, 40, "x" * 300)
        with tracer.span("alone too large") as span:
            span.set_attribute("text", "x" * 6_000)
        assert tracer.flush(5)
        tracer.shutdown(2)
        assert len(receiver.spans) == 40
        assert (_exporter(tracer).counts.sent, _exporter(tracer).counts.dropped) == (40, 1)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(status: int) -> None:
    tried: list[float] = []

    def answer(_path: str, _body: bytes) -> Answer:
        tried.append(time.monotonic())
        return Answer(status, {"retry-after": "1"}) if len(tried) == 1 else Answer()

    with receiving(answer) as receiver:
        tracer = AgentTrace(receiver.url, live="none", interval_s=60)
        _spans(tracer, 1)
        assert tracer.flush(10)
        assert len(receiver.spans) == 1
        assert tried[1] - tried[0] >= 1.0
        tracer.shutdown(2)


def test_a_program_that_is_seeded_draws_the_same_beside_us() -> None:
    """Lost: an experiment that cannot be repeated, because a receiver was busy for a moment."""
    tried: list[bytes] = []

    def answer(_path: str, body: bytes) -> Answer:
        tried.append(body)
        return Answer(503) if len(tried) == 1 else Answer()

    with receiving(answer) as receiver:
        tracer = AgentTrace(receiver.url, live="none", interval_s=60)
        _spans(tracer, 1)
        drawn = random.getstate()
        assert tracer.flush(10)
        assert len(tried) == 2
        assert random.getstate() == drawn
        tracer.shutdown(2)


def test_what_is_refused_for_good_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    with receiving(lambda _path, _body: Answer(401, body=b"no key")) as receiver:
        tracer = AgentTrace(receiver.url, live="none", interval_s=60)
        _spans(tracer, 3)
        with caplog.at_level(logging.WARNING, "agenttrace"):
            assert tracer.flush(5)
        tracer.shutdown(2)
    assert _exporter(tracer).counts.dropped == 3
    assert "the receiver answered 401: no key" in caplog.text


def test_partial_success_is_counted() -> None:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2
    response.partial_success.error_message = "trace id of 3 bytes"
    with receiving(lambda _path, _body: Answer(body=response.SerializeToString())) as receiver:
        tracer = AgentTrace(receiver.url, live="none", interval_s=60)
        _spans(tracer, 5)
        assert tracer.flush(5)
        tracer.shutdown(2)
    assert (_exporter(tracer).counts.sent, _exporter(tracer).counts.dropped) == (3, 2)


def test_a_flush_keeps_its_deadline_and_a_slow_receiver_blocks_nobody() -> None:
    answers = threading.Event()

    def answer(_path: str, _body: bytes) -> Answer:
        answers.wait(60)
        return Answer()

    with receiving(answer) as receiver:
        tracer = AgentTrace(receiver.url, live="none", interval_s=60)
        _spans(tracer, 1)
        assert not tracer.flush(0.3)
        _spans(tracer, 100)
        tracer.shutdown(0.2)
        assert receiver.requests == [], "somebody waited for the answer"
        answers.set()


def test_an_answer_that_trickles_in_keeps_nobody() -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def trickle() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            for _ in range(200):
                connection.sendall(b"H")
                time.sleep(0.1)

    threading.Thread(target=trickle, daemon=True).start()
    tracer = AgentTrace(f"http://127.0.0.1:{server.getsockname()[1]}", live="none", interval_s=60)
    _spans(tracer, 1)
    begun = time.monotonic()
    assert not tracer.flush(0.3)
    tracer.shutdown(0.3)
    assert time.monotonic() - begun < 10
    server.close()


def test_a_flush_that_runs_out_of_time_loses_nothing() -> None:
    up = threading.Event()
    with receiving(lambda _path, _body: Answer() if up.is_set() else Answer(503)) as receiver:
        tracer = AgentTrace(receiver.url, live="none", interval_s=60)
        _spans(tracer, 10)
        assert not tracer.flush(0.1)
        up.set()
        assert tracer.flush(30)
        assert len(receiver.spans) == 10
        tracer.shutdown(2)


def test_a_receiver_that_comes_back_gets_everything() -> None:
    up = threading.Event()
    with receiving(lambda _path, _body: Answer() if up.is_set() else Answer(503)) as receiver:
        tracer = AgentTrace(receiver.url, live="none", interval_s=0.05)
        _spans(tracer, 10)
        time.sleep(0.4)
        up.set()
        assert tracer.flush(20)
        assert len(receiver.spans) == 10
        tracer.shutdown(2)


def test_no_thread_is_left_behind(receiver: Receiver) -> None:
    before = set(threading.enumerate())
    tracer = AgentTrace(receiver.url)
    _spans(tracer, 3)
    tracer.shutdown(5)
    _spans(tracer, 3)
    left = [thread for thread in set(threading.enumerate()) - before if thread.name == "agenttrace"]
    assert left == []
    assert len(receiver.spans) == 3


@pytest.mark.parametrize(
    ("live", "told"), [("none", []), ("agents", ["root", "agent"]), ("all", ["root", "agent", "tool"])]
)
def test_running_work_is_told_once_and_then_its_end(receiver: Receiver, live: Any, told: list[str]) -> None:
    tracer = AgentTrace(receiver.url, live=live, interval_s=60)
    with tracer.span("root", "chain"), tracer.span("agent", "invoke_agent"), tracer.span("tool", "execute_tool"):
        for _ in range(2):
            assert tracer.flush(5)
    running = [s for s in receiver.spans if not s.end_time_unix_nano]
    assert [s.name for s in running] == told
    assert {attributes(s)["agenttrace.span.state"] for s in running} <= {"running"}
    assert tracer.flush(5)
    ended = [s for s in receiver.spans if s.end_time_unix_nano]
    assert sorted(s.name for s in ended) == ["agent", "root", "tool"]
    assert not any("agenttrace.span.state" in attributes(s) for s in ended)
    tracer.shutdown(2)


_CHILD = """
import os, sys, time
from agenttrace import init
tracer = init(endpoint=sys.argv[1], live="none", interval_s=60)
with tracer.span("parent"):
    pass
how = sys.argv[2]
if how == "fork":
    pid = os.fork()
    with tracer.span("child" if pid == 0 else "parent again"):
        pass
    if pid == 0:
        assert tracer.flush(5)
        os._exit(0)
    os.waitpid(pid, 0)
elif how == "raise":
    raise SystemExit(3)
elif how == "spawn":
    import multiprocessing
elif how == "thread":
    import threading
    threading.Thread(target=time.sleep, args=(0.1,)).start()
"""


_WORKERS = """
import multiprocessing, sys
from agenttrace import AgentTrace, init

def of_the_process(url):
    with init(endpoint=url, live="none", interval_s=60).span("a"): pass

def of_its_own(url):
    with AgentTrace(url, live="none", interval_s=60).span("b"): pass

if __name__ == "__main__":
    url, method = sys.argv[1:]
    with init(endpoint=url, live="none", interval_s=60).span("parent"): pass
    for work in (of_the_process, of_its_own):
        worker = multiprocessing.get_context(method).Process(target=work, args=(url,))
        worker.start()
        worker.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_send_at_their_end(receiver: Receiver, tmp_path: Path, method: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(_WORKERS)
    subprocess.run([sys.executable, str(program), receiver.url, method], timeout=120, check=True)
    assert sorted(span.name for span in receiver.spans) == ["a", "b", "parent"]


@pytest.mark.parametrize("how", ["end", "raise", "fork", "thread"])
def test_a_short_process_sends_at_its_end(receiver: Receiver, how: str) -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _CHILD, receiver.url, how], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3 if how == "raise" else 0, "")
    names = sorted(span.name for span in receiver.spans)
    assert names == (["child", "parent", "parent again"] if how == "fork" else ["parent"])
    assert time.monotonic() - begun < 30


def test_a_process_without_a_receiver_ends_at_once(unused_port: int) -> None:
    environment = os.environ | {"AGENTTRACE_ENDPOINT": f"http://127.0.0.1:{unused_port}"}
    # Also while the thread waits to try again.
    code = "import time, agenttrace; t = agenttrace.init(exit_timeout_s=60); t.span('a').__enter__().otel.end()\n"
    code += "time.sleep(2)"
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - begun < 20


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_secrets_do_not_leave_the_process(receiver: Receiver) -> None:
    def redact(key: str, text: str) -> str | None:
        if key == "drop":
            return None
        if "explode" in text:
            raise ValueError(text)
        return text.replace("hunter2", "***")

    tracer = AgentTrace(receiver.url, live="all", redact=redact, interval_s=60)

    @tracer.trace_tool()
    def tool(password: str) -> str:
        raise ValueError(f"wrong: {password}")

    with tracer.span("outer", input={"p": "hunter2"}) as span:
        span.set_attributes({"drop": "hunter2", "tags": ["hunter2", "b"], "e": "explode hunter2", "n": 1})
        span.otel.add_link(span.otel.get_span_context(), {"of": "hunter2"})
        span.score("judge", label="hunter2", explanation="it said hunter2")
        with pytest.raises(ValueError, match="wrong"):
            tool("hunter2")
        assert tracer.flush(5)
    tracer.shutdown(5)
    assert not any(b"hunter2" in body for *_, body in receiver.requests)
    assert any(b"it said ***" in body for *_, body in receiver.requests)
    (outer,) = (s for s in receiver.spans if s.name == "outer" and s.end_time_unix_nano)
    assert attributes(outer) == {
        "input.value": '{"p":"***"}', "tags": ["***", "b"], "e": "(redaction failed: nothing is sent)", "n": 1
    }  # fmt: skip
    (failed,) = (s for s in receiver.spans if s.name == "tool" and s.end_time_unix_nano)
    assert failed.status.message == "wrong: ***"
    assert outer.links[0].attributes[0].value.string_value == "***"
    assert "wrong: ***" in attributes(failed.events[0])["exception.stacktrace"]


def test_a_clock_that_jumps_changes_nothing_but_times(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = AgentTrace(receiver.url, live="none", interval_s=0.05)
    with tracer.span("before"):
        monkeypatch.setattr(time, "time", lambda: 0.0)
        with tracer.span("inside"):
            pass
    assert tracer.flush(5)
    assert {s.name for s in receiver.spans} == {"before", "inside"}
    tracer.shutdown(2)
