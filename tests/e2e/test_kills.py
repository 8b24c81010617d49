"""kill -9 of every process while spans arrive: each acknowledged span is there, once."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from dataclasses import dataclass, field

import httpx
import pytest

from tests.e2e.running import RunningServer, until

SPANS = 8


def request(trace: int) -> bytes:
    """One trace of ``SPANS`` spans, as OTLP/JSON."""
    now = time.time_ns()
    spans = [
        {
            "traceId": f"{trace:032x}",
            "spanId": f"{number + 1:016x}",
            "parentSpanId": f"{1:016x}" if number else "",
            "name": f"step {number}",
            "startTimeUnixNano": str(now + number),
            "endTimeUnixNano": str(now + number + 1000),
        }
        for number in range(SPANS)
    ]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


@dataclass
class Sender:
    """Sends traces one after the other until told to stop, each again until it is acknowledged."""

    server: RunningServer
    numbers: itertools.count[int]
    acknowledged: set[str] = field(default_factory=set)
    receipts: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            number = next(self.numbers)
            body = request(number)
            while not self.stop.is_set() and not self.send(body):
                time.sleep(0.05)
            if not self.stop.is_set():
                self.acknowledged.add(f"{number:032x}")

    def send(self, body: bytes) -> bool:
        try:
            at = self.server.endpoints()["otlp_http"]
            headers = {"content-type": "application/json"}
            answer = httpx.post(f"{at}/v1/traces", content=body, headers=headers, timeout=5)
        except (httpx.HTTPError, KeyError):
            return False
        if answer.status_code == 200:
            self.receipts.append(answer.headers["agenttrace-receipt"])
        return answer.status_code == 200


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_every_acknowledged_span_is_there_once(stopped_server: RunningServer, seed: int) -> None:
    """Lost: the first promise; what was acknowledged can vanish, or be counted twice."""
    chance = random.Random(seed)
    server = RunningServer(stopped_server.folder, AGENTTRACE_WRITE__FLUSH_AGE="700ms", AGENTTRACE_COMPACT__FAN_IN="4")
    server.start()
    numbers = itertools.count(1)
    senders = [Sender(server, numbers) for _ in range(2)]
    threads = [threading.Thread(target=sender.run) for sender in senders]
    try:
        for thread in threads:
            thread.start()
        for part in ("ingest", "write", "query", "write", "up", "ingest", "write", "up"):
            time.sleep(chance.uniform(0.5, 2.5))
            server.kill(part)
            if part == "up":
                server.start()
        time.sleep(1)
    finally:
        for sender in senders:
            sender.stop.set()
        for thread in threads:
            thread.join()
    try:
        acknowledged = set().union(*(sender.acknowledged for sender in senders))
        assert len(acknowledged) > 20, server.log()
        assert_all_there_once(server, acknowledged, [r for sender in senders for r in sender.receipts])
        assert server.stop() == 0
        server.start()
        assert_all_there_once(server, acknowledged, [])
    finally:
        server.destroy()


def assert_all_there_once(server: RunningServer, acknowledged: set[str], receipts: list[str]) -> None:
    for receipt in receipts[-4:]:
        until(lambda receipt=receipt: server.get(f"/api/v1/receipts/{receipt}")["readable"])  # type: ignore[misc]
    listed = server.traces()
    read = {trace["trace_id"]: trace["spans"] for trace in listed}
    assert len(listed) == len(read), "a trace is listed twice"
    assert not acknowledged - read.keys(), f"{len(acknowledged - read.keys())} acknowledged traces are lost"
    assert {trace: spans for trace, spans in read.items() if spans != SPANS} == {}, "spans are lost or doubled"
    for trace_id in sorted(acknowledged)[:: max(1, len(acknowledged) // 20)]:
        spans = server.get(f"/api/v1/traces/{trace_id}")["spans"]
        assert sorted(span["span_id"] for span in spans) == [f"{n + 1:016x}" for n in range(SPANS)]
