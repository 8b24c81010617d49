"""A load as agents make it, sent as exporters send it, and what became of it.

A trace is several requests: its root as it starts, its children, its root again as it ends. Each request is sent
until it is acknowledged, whatever happens meanwhile, and some are sent once more although they were. Now and then
a request has a span that must be refused.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.faults.scaled.deployment import Deployment, Project
from tests.faults.spans import SpanSpec, request
from tests.faults.test_pipeline import Sent

_SENDERS = 3
_PAUSE_S, _MANY = 0.04, 60
"""Between requests; ten times that once a sender has begun so many traces, for all of them are read back."""
_AGAIN_S = 0.1
_ATTEMPT_S = 10.0
_GIVES_UP_S = 90.0
_RETRYABLE = {429, 502, 503, 504}
_REFUSED = SpanSpec(bytes(16), b"refused!", 1, 2, name="refused")
"""Its trace id is of zeros."""


class Ledger:
    """What was sent in a project, acknowledged and refused. Its methods may be called from any thread."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.sent = Sent()
        self.acknowledged_spans: set[tuple[bytes, bytes]] = set()
        self.spans = self.tokens = 0
        self.requests = self.acknowledged = self.refused = 0
        self.wrong: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.latencies: list[tuple[float, int, float]] = []
        """Of each attempt: when it ended (monotonic), its status, and the seconds that it took."""
        self._lock = threading.Lock()

    def sending(self, specs: Sequence[SpanSpec]) -> None:
        """Note a request before it leaves."""
        with self._lock:
            self.requests += 1
            self.sent.add(self.project.name, specs)
            self.spans = len(self.sent.spans)
            self.tokens = sum(spec.tokens or 0 for spec in self.sent.spans.values())

    def attempted(self, status: int, seconds: float) -> None:
        """Note what became of an attempt; 0 is a broken connection."""
        with self._lock:
            self.statuses[status] += 1
            self.latencies.append((time.monotonic(), status, seconds))

    def done(self, specs: Sequence[SpanSpec], refused: int) -> None:
        """Note that a request was acknowledged, but for so many spans that were refused."""
        with self._lock:
            self.acknowledged_spans |= {(spec.trace_id, spec.span_id) for spec in specs}
            self.acknowledged += 1
            self.refused += refused

    def complain(self, what: str) -> None:
        """Note what should not have happened."""
        with self._lock:
            self.wrong.append(what)


@dataclass
class Load:
    """Senders at work. ``Ledger`` tells what they did; ``rng`` makes a run repeatable in what it sends."""

    deployment: Deployment
    ledger: Ledger
    seed: int
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        """Send traces, some at a time, until told to stop; then end those that were begun."""
        rng = random.Random(f"{self.seed}/{number}")
        open_traces: list[Iterator[list[SpanSpec]]] = []
        begun = 0
        with httpx.Client(timeout=_ATTEMPT_S) as client:
            while not self.stopping.is_set() or open_traces:
                if not self.stopping.is_set() and len(open_traces) < 4:
                    open_traces.append(_trace(rng))
                    begun += 1
                chosen = rng.choice(open_traces)
                specs = next(chosen, None)
                if specs is None:
                    open_traces.remove(chosen)
                    continue
                self._deliver(client, specs, rng)
                time.sleep(_PAUSE_S if begun < _MANY else 10 * _PAUSE_S)

    def _deliver(self, client: httpx.Client, specs: list[SpanSpec], rng: random.Random) -> None:
        bad = rng.random() < 0.1
        body = request(*specs, *[_REFUSED] * bad)
        self.ledger.sending(specs)
        for _ in range(2 if rng.random() < 0.1 else 1):
            refused = _send(client, self.deployment, self.ledger, body, rng.randrange(2))
        self.ledger.done(specs, refused)
        if refused != bad:
            self.ledger.complain(f"{refused} spans were refused, not {int(bad)}")


@contextmanager
def loaded(deployment: Deployment, seed: int = 1) -> Iterator[Ledger]:
    """Send for the length of the block; at its end, wait until all that was begun is acknowledged."""
    load = Load(deployment, Ledger(deployment.new_project()), seed)
    threads = [threading.Thread(target=load.run, args=(n,), daemon=True) for n in range(_SENDERS)]
    for thread in threads:
        thread.start()
    try:
        yield load.ledger
    finally:
        load.stopping.set()
        for thread in threads:
            thread.join(_GIVES_UP_S)


def traces(rng: random.Random, count: int) -> list[list[SpanSpec]]:
    """Return the requests of some traces, those of each in order."""
    return [specs for _ in range(count) for specs in _trace(rng)]


def send_all(deployment: Deployment, ledger: Ledger, batches: Sequence[list[SpanSpec]], *, door: int = 0) -> None:
    """Send requests one after the other, each until it is acknowledged, beginning with one of the doors."""
    with httpx.Client(timeout=_ATTEMPT_S) as client:
        for specs in batches:
            ledger.sending(specs)
            ledger.done(specs, _send(client, deployment, ledger, request(*specs), door))


def _send(client: httpx.Client, deployment: Deployment, ledger: Ledger, body: bytes, door: int = 0) -> int:
    """Send a request until it is acknowledged; return how many of its spans were refused."""
    give_up = time.monotonic() + _GIVES_UP_S
    headers = {"content-type": "application/x-protobuf", **ledger.project.headers}
    while time.monotonic() < give_up:
        began = time.monotonic()
        try:
            url = f"{deployment.doors[door % len(deployment.doors)]}/v1/traces"
            answer = client.post(url, content=body, headers=headers)
        except httpx.TransportError:
            ledger.attempted(0, time.monotonic() - began)
        else:
            ledger.attempted(answer.status_code, time.monotonic() - began)
            if answer.status_code == 200:
                return _rejected(answer.content)
            if answer.status_code not in _RETRYABLE:
                ledger.complain(f"answered with {answer.status_code}: {answer.text}")
                return 0
        door += 1
        time.sleep(_AGAIN_S)
    ledger.complain(f"a request was not acknowledged for {_GIVES_UP_S:.0f} s")
    return 0


def _rejected(body: bytes) -> int:
    return ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans


def _trace(rng: random.Random) -> Iterator[list[SpanSpec]]:
    """Yield the requests of one trace: what is running is sent again once it has ended."""
    start = time.time_ns()
    trace_id, service = rng.randbytes(15) + b"\1", rng.choice(["shop", "desk"])
    root = SpanSpec(trace_id, rng.randbytes(7) + b"\1", start, 0, name="answer", service=service, tokens=None)
    running = [root]
    yield [root]
    for _ in range(rng.randrange(1, 4)):
        specs = [_child(rng, root) for _ in range(rng.randrange(1, 6))]
        yield specs
        running += [spec for spec in specs if not spec.end_ns]
    yield [spec.ended(start + 3 * 10**9, tokens=spec.tokens and spec.tokens + rng.randrange(100)) for spec in running]


def _child(rng: random.Random, root: SpanSpec) -> SpanSpec:
    start = root.start_ns + rng.randrange(10**9)
    return SpanSpec(
        root.trace_id, rng.randbytes(7) + b"\1", start, rng.choice([0, start + rng.randrange(10**9)]),
        parent=root.span_id, service=root.service, tokens=1 + rng.randrange(1000), error=rng.random() < 0.1,
        text="x" * rng.randrange(300),
    )  # fmt: skip
