"""From ended spans to the receiver: a bounded queue, one thread, requests of bounded size.

Nothing in here raises into the program, blocks it, or outlives ``shutdown``. What cannot be kept or sent is
dropped, counted, told in the log, and written on the next span that is sent (``agenttrace.sdk.dropped_spans``).
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,  # pyright: ignore[reportPrivateUsage] - OpenTelemetry has no public name for it
    Context,
    attach,
    detach,
    set_value,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from agenttrace import lifetime, semconv
from agenttrace.context import propagated
from agenttrace.encode import encode_span, logs_request, rejected_of, traces_request
from agenttrace.redaction import redacted
from agenttrace.settings import Settings
from agenttrace.transport import Outcome, Transport

_log = logging.getLogger("agenttrace")

_BATCH_SPANS: Final = 512
_SPAN_BYTES: Final = 300
"""About what a span takes besides its texts."""
_RUNNING: Final = {semconv.SPAN_STATE: "running"}
_GIVE_UP_S: Final = 120.0
_FULL: Final = "too much waits to be sent"
_ENDED: Final = "the program ended before they were sent"
_MOST_RUNNING: Final = 4_096

Record = tuple[Resource, InstrumentationScope, bytes]


@dataclass(slots=True)
class Counts:
    """What has become of spans and scores so far."""

    sent: int = 0
    dropped: int = 0
    """For want of room, or because the receiver would not take them."""
    untold: int = field(default=0, repr=False)


class Exporter(SpanProcessor):
    """Sends the spans of a ``TracerProvider``, and scores, to one receiver.

    Args:
        settings: where to, and how much may wait.
        transport: how a request is sent; by default over HTTP.
        names: what the application's resource is to say besides, such as its name.
    """

    def __init__(
        self, settings: Settings, transport: Transport | None = None, names: Mapping[str, str] | None = None
    ) -> None:
        self._settings = settings
        self._transport = transport or Transport(settings)
        self._names = Resource(dict(names)) if names else None
        self._named: dict[int, tuple[Resource, Resource]] = {}
        self.providers: weakref.WeakSet[TracerProvider] = weakref.WeakSet()
        """Those whose spans come here."""
        self.counts = Counts()
        self.captures: list[Callable[[ReadableSpan], None]] = []
        """While there are any, spans are given to these and are not sent; see ``agenttrace.testing``."""
        self._closed = False
        self._begin()
        lifetime.watch(self)

    def _begin(self) -> None:
        """Start with nothing: at first, and in the child of a fork, whose parent sends what was waiting."""
        self._spans: deque[tuple[ReadableSpan, int]] = deque()
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._running: dict[int, _Running] = {}
        self._in_hand = 0
        self._flushes: deque[_Flush] = deque()
        # One that its holder may take again: a span may end when garbage is collected, which happens at any line.
        self._lock = threading.RLock()
        self._sending = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    # -- what the program calls -------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Put the session, user and tags in force onto the span; remember it, if it is to be told while it runs."""
        carried = propagated(parent_context)
        if carried is not None:
            span.set_attributes(carried.attributes)
        live = self._settings.live
        if live == "none" or self._closed or self.captures or len(self._running) >= _MOST_RUNNING:
            return
        if live == "all" or span.parent is None or span.parent.is_remote or _is_agent(span):
            self._running[span.get_span_context().span_id] = _Running(span)
            if self._thread is None:
                self._start_thread()

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span, or drop it where there is no room."""
        context = span.get_span_context()
        if context is None or self._closed:
            return
        self._running.pop(context.span_id, None)
        if self.captures:
            for capture in self.captures:
                capture(span)
        elif context.trace_flags.sampled:
            self._enqueue(span, _size_of(span))

    def _enqueue(self, span: ReadableSpan, size: int) -> None:
        settings = self._settings
        with self._lock:
            has_room = (
                not self._closed
                and len(self._spans) < settings.max_queue_spans
                and self._bytes + size <= settings.max_queue_bytes
            )
            if has_room:
                self._spans.append((span, size))
                self._bytes += size
            waiting = len(self._spans)
        if not has_room:
            self._drop(1, _FULL)
            return
        if self._thread is None:
            self._start_thread()
        if waiting >= _BATCH_SPANS and not self._wake.is_set():
            self._wake.set()

    def record(self, resource: Resource, scope: InstrumentationScope, record: bytes) -> None:
        """Queue an encoded log record; see ``encode.encode_event_record``."""
        with self._lock:
            if self._closed or self.captures:
                return
            has_room = self._bytes + len(record) <= self._settings.max_queue_bytes
            if has_room:
                self._records.append((resource, scope, record))
                self._bytes += len(record)
        if not has_room:
            self._drop(1, _FULL)
            return
        if self._thread is None:
            self._start_thread()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is waiting, and say whether all of it went within the time.

        The thread sends; the program waits for it no longer than the time, whatever the receiver does. What is not
        sent by then is not lost: the thread goes on.
        """
        if not (self._spans or self._records or self._running or self._in_hand):
            return True
        if self._thread is threading.current_thread():  # a handler of its log asks: it cannot wait for itself
            return False
        flush = _Flush()
        self._flushes.append(flush)
        if self._start_thread():
            self._wake.set()
            flush.done.wait(timeout_millis / 1000)
        else:  # the interpreter is ending, and nobody else is there to do it
            self._answer_flushes(time.monotonic() + timeout_millis / 1000)
        return flush.all_went

    @property
    def exit_timeout_s(self) -> float:
        """How long the end of the process waits for it."""
        return self._settings.exit_timeout_s

    def shutdown(self, timeout_millis: int | None = None) -> None:
        """Send what is waiting, within the time, and end the thread. Later spans are dropped."""
        if self._closed:
            return
        budget_s = self._settings.exit_timeout_s if timeout_millis is None else timeout_millis / 1000
        deadline = time.monotonic() + budget_s
        # Nobody waits at the end of a program for a receiver that is not there.
        self._transport.hurry(deadline)
        self.force_flush(int(budget_s * 1000))
        with self._lock:
            self._closed = True
            unsent = len(self._spans) + len(self._records)
            self._spans.clear()
            self._records.clear()
            self._running.clear()
        self._drop(unsent, _ENDED)
        if self._in_hand:
            _log.warning("%d spans or scores were still being sent when the program ended", self._in_hand)
        self._wake.set()
        self._transport.close()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=min(1.0, max(0.05, deadline - time.monotonic())))
        lifetime.let_go(self)

    def after_fork(self) -> None:
        """Begin anew in the child."""
        self._transport.forget()
        self._begin()

    # -- the thread -------------------------------------------------------------------------------

    def _start_thread(self) -> bool:
        """Have the thread run, and say whether it does."""
        with self._lock:
            thread = self._thread
            if thread is None and not self._closed:
                thread = threading.Thread(target=_run, args=(weakref.ref(self),), name="agenttrace", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending
                    return False
                self._thread = thread
        return thread is not None and thread.is_alive()

    def turn(self) -> bool:
        """Wait for the next batch and send it; say whether to go on."""
        self._wake.wait(self._settings.interval_s)
        self._wake.clear()
        if self._closed:
            return False
        self._answer_flushes(time.monotonic() + _GIVE_UP_S)
        return not self._closed

    def _answer_flushes(self, deadline: float) -> None:
        """Send everything that is waiting now, and tell those who have asked for it."""
        with self._sending:
            asked = [self._flushes.popleft() for _ in range(len(self._flushes))]
            all_went = self._send_all(deadline)
        for flush in asked:
            flush.all_went = all_went
            flush.done.set()

    def _send_all(self, deadline: float) -> bool:
        """Send everything that is waiting now, in order. Say whether it went."""
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
        try:
            done = True
            while done and (batch := self._take_spans()):
                done = self._send_spans(batch, deadline)
            if done and self._running:
                self._send_running(deadline)
            return done and self._send_records(deadline)
        except Exception:  # noqa: BLE001 - nothing of this may reach the program
            _log.exception("sending spans failed; what was being sent is dropped")
            return False
        finally:
            self._in_hand = 0
            detach(token)

    def _take_spans(self) -> list[ReadableSpan]:
        with self._lock:
            taken: list[ReadableSpan] = []
            size = 0
            while self._spans and len(taken) < _BATCH_SPANS:
                span, bytes_of = self._spans[0]
                if taken and size + bytes_of > self._settings.max_request_bytes:
                    break
                self._spans.popleft()
                taken.append(span)
                size += bytes_of
            self._bytes -= size
            self._in_hand = len(taken)
            return taken

    def _send_spans(self, spans: list[ReadableSpan], deadline: float) -> bool:
        items: list[_Item] = []
        for span in spans:
            encoded = self._encoded(span)
            if encoded is not None:
                items.append((span, encoded))
        return self._send_items(items, deadline)

    def _encoded(self, span: ReadableSpan, *, running: bool = False) -> bytes | None:
        extra: dict[str, Any] = dict(_RUNNING) if running else {}
        if self.counts.untold and not running:
            extra[semconv.DROPPED_SPANS] = self.counts.untold
            self.counts.untold = 0
        try:
            return encode_span(redacted(span, self._settings), extra, running=running)
        except Exception:  # noqa: BLE001 - a span that cannot be written must not cost its neighbours
            _log.exception("a span cannot be encoded, and is dropped")
            if not running:
                self._drop(1, "they cannot be encoded")
            return None

    def _send_items(self, items: list[_Item], deadline: float) -> bool:
        """Send encoded spans in one request; in two, where the receiver finds it too large."""
        for part in _parts(items, self._settings.max_request_bytes):
            outcome = self._post(self._settings.traces_url, self._request_of(part), deadline)
            if outcome.too_large and len(part) > 1:
                middle = len(part) // 2
                if not (self._send_items(part[:middle], deadline) and self._send_items(part[middle:], deadline)):
                    return False
            else:
                self._settle(outcome, len(part))
                if not outcome.done:
                    return False
        return True

    def _send_running(self, deadline: float) -> None:
        """Tell of spans that have begun and not ended, each once."""
        items: list[_Item] = []
        for running in [entry for entry in list(self._running.values()) if not entry.told]:
            running.told = True
            if running.span.get_span_context().trace_flags.sampled:
                encoded = self._encoded(running.span, running=True)
                items += [] if encoded is None else [(running.span, encoded)]
        for part in _parts(items, self._settings.max_request_bytes):
            self._post(self._settings.traces_url, self._request_of(part), deadline)

    def _request_of(self, part: list[_Item]) -> bytes:
        groups: dict[tuple[Resource, InstrumentationScope | None], list[bytes]] = {}
        for span, encoded in part:
            groups.setdefault((self._resource(span.resource), span.instrumentation_scope), []).append(encoded)
        return traces_request(groups)

    def _resource(self, resource: Resource) -> Resource:
        """Return what a resource is with the application's names; a program has only a few."""
        if self._names is None:
            return resource
        known = self._named.get(id(resource))
        if known is None or known[0] is not resource:
            known = self._named[id(resource)] = (resource, resource.merge(self._names))
        return known[1]

    def _post(self, url: str, body: bytes, deadline: float) -> Outcome:
        return self._transport.send(url, body, deadline)

    def _send_records(self, deadline: float) -> bool:
        while True:
            with self._lock:
                taken = [self._records.popleft() for _ in range(min(_BATCH_SPANS, len(self._records)))]
                self._bytes -= sum(len(record) for *_, record in taken)
                self._in_hand = len(taken)
            if not taken:
                return True
            by_scope: dict[tuple[Resource, InstrumentationScope], list[bytes]] = {}
            for resource, scope, record in taken:
                by_scope.setdefault((self._resource(resource), scope), []).append(record)
            for (resource, scope), records in by_scope.items():
                body = logs_request(resource, scope, records)
                outcome = self._post(self._settings.logs_url, body, deadline)
                self._settle(outcome, len(records))
                if not outcome.done:
                    return False

    def _settle(self, outcome: Outcome, count: int) -> None:
        rejected = count
        if outcome.done and outcome.accepted:
            rejected = min(count, rejected_of(outcome.body))
        self.counts.sent += count - rejected
        self._drop(rejected, outcome.reason)

    def _drop(self, count: int, why: str) -> None:
        """Count what is dropped, and tell it in the log. Not to be called under the lock: a log may make spans."""
        if not count:
            return
        with self._lock:
            is_first = not self.counts.untold
            self.counts.dropped += count
            self.counts.untold += count
        if is_first:
            _log.warning("%d spans or scores are dropped: %s", count, why)


@dataclass(slots=True)
class _Running:
    """A span that has begun, and whether that was told."""

    span: Span
    told: bool = False


@dataclass(slots=True)
class _Flush:
    """Somebody who waits until everything is sent."""

    done: threading.Event = field(default_factory=threading.Event)
    all_went: bool = False


_Item = tuple[ReadableSpan, bytes]


def _parts(items: list[_Item], most: int) -> Iterator[list[_Item]]:
    part: list[_Item] = []
    size = 0
    for item in items:
        if part and size + len(item[1]) > most:
            yield part
            part, size = [], 0
        part.append(item)
        size += len(item[1])
    if part:
        yield part


def _size_of(span: ReadableSpan) -> int:
    """About how many bytes the span takes; texts are what makes one large."""
    return _SPAN_BYTES + _size_of_values(span.attributes) + sum(_size_of_values(e.attributes) for e in span.events)


def _size_of_values(attributes: Mapping[str, Any] | None) -> int:
    size = 0
    for value in (attributes or {}).values():
        kind = type(value)
        if kind is str or kind is bytes:
            size += len(value)
        elif kind is tuple:
            size += sum(len(item) if type(item) is str else 16 for item in value)
        else:
            size += 16
    return size


def _is_agent(span: ReadableSpan) -> bool:
    return (span.attributes or {}).get(semconv.OPERATION) in semconv.AGENT_OPERATIONS


def _run(reference: Callable[[], Exporter | None]) -> None:
    """Work for an exporter for as long as somebody holds it."""
    while True:
        exporter = reference()
        if exporter is None or not exporter.turn():
            return
        del exporter
