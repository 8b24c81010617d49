"""The doors' figures, for Prometheus. Labels are few and bounded: no project, no path of a client's choosing."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from agenttrace_core.ports.queue import Signal
from agenttrace_core.services.admission import Admission
from agenttrace_core.services.ingest import IngestMetrics

_APPEND_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class DoorMetrics(IngestMetrics):
    """Counts in a registry of its own, so that several may live in one process.

    Args:
        admission: read for the bytes in flight and the backlog when the figures are asked for.
    """

    def __init__(self, admission: Admission) -> None:
        self._registry = CollectorRegistry()
        self._items = self._counter("items", "Spans and log records acknowledged", "signal")
        self._bytes = self._counter("bytes", "Bytes of requests appended to the queue", "signal")
        self._refused = self._counter("refused", "Requests, spans and log records refused", "signal", "reason")
        self._forgotten = self._counter("refused_not_kept", "Refused requests that are no dead letters", "signal")
        self._requests = self._counter("requests", "Requests answered, by canonical status code", "door", "code")
        self._append = Histogram(
            "agenttrace_ingest_append_seconds", "Time until an append was durable",
            registry=self._registry, buckets=_APPEND_BUCKETS,
        )  # fmt: skip
        self._gauge("in_flight_bytes", "Bytes of requests held in memory").set_function(lambda: admission.in_flight)
        self._gauge("backlog_bytes", "Bytes acknowledged and not in files yet").set_function(lambda: admission.backlog)
        self._gauge("limits_alone", "1 while what shares rate limits is away").set_function(
            lambda: float(admission.limits_alone)
        )
        # Looking a label up costs more than counting, and these two are counted for every request.
        self._of_signal = {
            s: (self._items.labels(str(s)), self._bytes.labels(str(s))) for s in (Signal.TRACES, Signal.LOGS)
        }
        self._ok = {door: self._requests.labels(door, "0") for door in ("http", "grpc")}

    def stored(self, signal: Signal, items: int, size: int, append_s: float) -> None:
        """As of ``IngestMetrics``."""
        item_counter, byte_counter = self._of_signal[signal]
        item_counter.inc(items)
        byte_counter.inc(size)
        self._append.observe(append_s)

    def refused(self, signal: Signal, kind: str, items: int) -> None:
        """As of ``IngestMetrics``. A whole request counts as one."""
        self._refused.labels(str(signal), kind).inc(max(items, 1))

    def forgotten(self, signal: Signal) -> None:
        """As of ``IngestMetrics``."""
        self._forgotten.labels(str(signal)).inc()

    def answered(self, door: str, code: int) -> None:
        """Count an answer. ``door`` is ``http`` or ``grpc``; ``code`` is a canonical one, 0 for success."""
        if code == 0:
            self._ok[door].inc()
        else:
            self._requests.labels(door, str(code)).inc()

    def exposition(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"agenttrace_ingest_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"agenttrace_ingest_{name}", text, registry=self._registry)
