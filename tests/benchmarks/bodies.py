"""Requests as agents send them: 512 spans, 8 a trace, about 1.4 KB a span, each request unique.

All templates share one layout, so that a request is made unique (new trace, span and response ids,
current times) by a single scatter into a template; this costs a tenth of a millisecond, and
leaves the machine to what is measured. Ids follow from a seed and a request's number, so that
whoever knows the two can ask for the traces again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.benchmarks.prose import prose

SPANS = 512
SPANS_PER_TRACE = 8
TRACES = SPANS // SPANS_PER_TRACE

_Bytes = npt.NDArray[np.uint8]
_U64 = npt.NDArray[np.uint64]

_PROSE_BYTES, _PROSE_BYTES_A_TEMPLATE = 24_000_000, 3_000_000
_INPUT_BYTES, _OUTPUT_BYTES = 530, 230  # medians of a log-normal spread
_RESPONSE_ID_BYTES = 12
_NAMES = ("invoke_agent planner", "chat gpt-4o", "execute_tool search", "chat gpt-4o-mini")
_OPERATIONS = ("invoke_agent", "chat", "execute_tool", "chat")
_NAMED = ((("gen_ai.agent.name", "planner"),), (), (("gen_ai.tool.name", "search"),), ())
MODELS = ("gpt-4o-2024-08-06", "model-of-1-in-100", "model-of-1-in-1e4")
"""What answers nearly all traces, one of a hundred, and one of ten thousand."""
COHORTS = ("everyone--", "1-in-100--", "1-in-10000")
"""The attribute ``app.cohort`` of the same traces."""
SESSIONS, USERS = 300_000, 20_000
_SESSION_DIGITS, _USER_DIGITS = 9, 5
_HEX = np.frombuffer("".join(f"{value:02x}" for value in range(256)).encode(), dtype=np.uint16)


# --- Ids ---------------------------------------------------------------------------------------


def _mix(values: _U64) -> _U64:
    """Scramble 64-bit numbers one to one: splitmix64's finaliser (Steele, Lea, Flood, 2014)."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def _numbers(seed: int, request: int, stream: int, count: int) -> _U64:
    """Return ``count`` scrambled numbers of their own for each (seed, request, stream)."""
    key = (seed << 44) ^ (request << 14) ^ (stream << 12)
    return _mix(_mix(np.arange(key, key + count, dtype=np.uint64)))


def trace_ids(seed: int, request: int) -> list[str]:
    """Return the 64 trace ids of a request, as hex, in the order of its spans."""
    raw = _numbers(seed, request, 0, 2 * TRACES).tobytes().hex()
    return [raw[start : start + 32] for start in range(0, len(raw), 32)]


# --- Templates ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the changing parts of every template lie, and the times between its spans.

    ``scatter`` holds byte positions in the order of trace ids, span ids, parents, starts, ends,
    response ids, sessions, users, models, cohorts, retries and statuses.
    ``offsets_ns`` and ``durations_ns`` have a number for each span.
    """

    scatter: npt.NDArray[np.intp]
    offsets_ns: npt.NDArray[np.int64]
    durations_ns: npt.NDArray[np.int64]


class Bodies:
    """Templates of one size with one layout, made from a seed.

    ``length`` is the size of each body in bytes. ``head`` bytes are left free before each, for
    whoever wants to send head and body from one buffer.
    """

    def __init__(self, *, count: int, head: int = 0, seed: int = 1, spans_per_trace: int = SPANS_PER_TRACE) -> None:
        rng = np.random.default_rng(seed)
        self._spans_per_trace = spans_per_trace
        skeleton = _Skeleton(rng, spans_per_trace)
        self.length = len(skeleton.data)
        self.layout = skeleton.layout(head)
        text = np.frombuffer(prose(rng, min(_PROSE_BYTES, count * _PROSE_BYTES_A_TEMPLATE)), dtype=np.uint8)
        self.templates = [_fill(skeleton, head, text, rng) for _ in range(count)]

    def patch(self, template: _Bytes, seed: int, request: int, now_ns: int) -> None:
        """Make ``template`` the request of this number: the last of its spans ends at ``now_ns``."""
        layout, each = self.layout, self._spans_per_trace
        traces = _numbers(seed, request, 0, 2 * SPANS // each).view(np.uint8).reshape(-1, 16)
        spans = _numbers(seed, request, 1, SPANS)
        roots = np.repeat(spans[::each], each - 1)
        starts = layout.offsets_ns + now_ns
        responses = _HEX[_numbers(seed, request, 2, SPANS * 3 // 2).view(np.uint8)]
        template[layout.scatter] = np.concatenate([
            np.repeat(traces, each, axis=0).reshape(-1),
            spans.view(np.uint8),
            roots.view(np.uint8),
            starts.view(np.uint8),
            (starts + layout.durations_ns).view(np.uint8),
            responses.view(np.uint8),
            *(np.repeat(of_trace, each, axis=0).reshape(-1) for of_trace in self._of_traces(seed, request)),
            _statuses(self._kinds(seed, request), each),
        ])  # fmt: skip

    def _of_traces(self, seed: int, request: int) -> list[_Bytes]:
        """Return what all spans of a trace share and few traces do: session, user, model, cohort, retries."""
        drawn = self._kinds(seed, request)
        rare = np.where(drawn % 10_000 == 0, 2, np.where(drawn % 100 == 1, 1, 0))
        return [
            _digits(drawn // 10_000 % SESSIONS, _SESSION_DIGITS),
            _digits(drawn // 7 % USERS, _USER_DIGITS),
            _texts_of(MODELS)[rare],
            _texts_of(COHORTS)[rare],
            _digits(drawn % 5, 1),
        ]

    def _kinds(self, seed: int, request: int) -> _U64:
        return _numbers(seed, request, 3, SPANS // self._spans_per_trace)


def _digits(numbers: _U64, width: int) -> _Bytes:
    """Return numbers as decimal digits of one width: an item a row."""
    powers = np.uint64(10) ** np.arange(width - 1, -1, -1, dtype=np.uint64)
    digits: _Bytes = (numbers[:, None] // powers % np.uint64(10) + np.uint64(ord("0"))).astype(np.uint8)
    return digits


def _texts_of(texts: tuple[str, ...]) -> _Bytes:
    return np.array([list(text.encode()) for text in texts], dtype=np.uint8)


def _statuses(drawn: _U64, each: int) -> _Bytes:
    """Return the status code of each span: an error of one tool in one trace of fifty, otherwise ok."""
    codes = np.ones((len(drawn), each), dtype=np.uint8)
    codes[drawn % 50 == 3, 2 % each] = 2
    return codes.reshape(-1)


def single_trace(trace_id: bytes, requests: int, now_ns: int, seed: int = 1) -> Iterator[bytes]:
    """Yield requests that together are one trace: each brings 512 spans, a root and what lies below it."""
    bodies = Bodies(count=4, seed=seed, spans_per_trace=SPANS)
    positions = bodies.layout.scatter[: SPANS * len(trace_id)]
    for request in range(requests):
        body = bodies.templates[request % len(bodies.templates)]
        bodies.patch(body, seed, request, now_ns + request * 1_000_000)
        body[positions] = np.tile(np.frombuffer(trace_id, dtype=np.uint8), SPANS)
        yield body.tobytes()


def _fill(skeleton: _Skeleton, head: int, text: _Bytes, rng: np.random.Generator) -> _Bytes:
    template = np.zeros(head + skeleton.length, dtype=np.uint8)
    template[head:] = np.frombuffer(bytes(skeleton.data), dtype=np.uint8)
    starts = rng.integers(0, len(text) - 10_000, len(skeleton.texts))
    for (position, length), start in zip(skeleton.texts, starts.tolist(), strict=True):
        template[head + position : head + position + length] = text[start : start + length]
    return template


class _Skeleton:
    """One encoded request, and the positions of what differs from request to request."""

    def __init__(self, rng: np.random.Generator, spans_per_trace: int) -> None:
        self._rng = rng
        self._spans_per_trace = spans_per_trace
        self.texts: list[tuple[int, int]] = []
        self._ids: dict[str, list[int]] = defaultdict(list)
        spans = _Part()
        for number in range(SPANS):
            spans.nest(0x12, self._span(number))
        scope = _text(0x0A, "bench.agents") + _text(0x12, "1.4.2")
        scope_spans = _Part(_bytes(0x0A, scope))
        scope_spans.join(spans)
        resource = b"".join(
            _bytes(0x0A, _attribute(key, value))
            for key, value in (
                ("service.name", "travel-desk"),
                ("service.version", "2026.3.1"),
                ("deployment.environment.name", "production"),
                ("telemetry.sdk.language", "python"),
                ("telemetry.sdk.name", "opentelemetry"),
                ("telemetry.sdk.version", "1.40.0"),
            )
        )
        resource_spans = _Part(_bytes(0x0A, resource))
        resource_spans.nest(0x12, scope_spans)
        request = _Part()
        request.nest(0x0A, resource_spans)
        self.data = request.data
        self.length = len(self.data)
        for kind, start, length in request.slots:
            if kind == "text":
                self.texts.append((start, length))
            else:
                self._ids[kind].append(start)

    def layout(self, head: int) -> Layout:
        widths = {
            "trace": 16, "span": 8, "parent": 8, "start": 8, "end": 8, "response": 2 * _RESPONSE_ID_BYTES,
            "session": _SESSION_DIGITS, "user": _USER_DIGITS, "model": len(MODELS[0]), "cohort": len(COHORTS[0]),
            "retries": 1, "status": 1,
        }  # fmt: skip
        scatter = [
            (np.array(self._ids[name])[:, None] + np.arange(width)[None, :] + head).reshape(-1)
            for name, width in widths.items()
        ]
        # A root starts first and ends last; the rest of a trace lies within it.
        inner = np.arange(SPANS) % self._spans_per_trace
        offsets = -6_000_000_000 + inner * (5_000_000_000 // self._spans_per_trace)
        durations = self._rng.integers(50_000_000, 600_000_000, SPANS)
        durations[inner == 0] = 6_000_000_000
        return Layout(np.concatenate(scatter).astype(np.intp), offsets, durations)

    def _span(self, number: int) -> _Part:
        rng, inner = self._rng, number % self._spans_per_trace
        span = _Part()
        span.slot(0x0A, "trace", 16)
        span.slot(0x12, "span", 8)
        if inner:
            span.slot(0x22, "parent", 8)
        span.add(_text(0x2A, _NAMES[inner % 4]) + b"\x30" + bytes([1 if inner % 4 != 1 else 3]))
        span.fixed(0x39, "start")
        span.fixed(0x41, "end")
        for key, value in (
            ("gen_ai.operation.name", _OPERATIONS[inner % 4]),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.request.model", "gpt-4o"),
            *_NAMED[inner % 4],
        ):
            span.add(_bytes(0x4A, _attribute(key, value)))
        for key, most in (("gen_ai.usage.input_tokens", 16_000), ("gen_ai.usage.output_tokens", 2_000)):
            tokens = b"\x18" + _varint(int(rng.integers(128, most)))
            span.add(_bytes(0x4A, _text(0x0A, key) + _bytes(0x12, tokens)))
        span.attribute("gen_ai.response.model", b"", "model", len(MODELS[0]))
        span.attribute("gen_ai.conversation.id", b"conv-", "session", _SESSION_DIGITS)
        span.attribute("user.id", b"user-", "user", _USER_DIGITS)
        span.attribute("app.cohort", b"", "cohort", len(COHORTS[0]))
        span.attribute("app.retries", b"", "retries", 1)
        span.attribute("gen_ai.response.id", b"chatcmpl-", "response", 2 * _RESPONSE_ID_BYTES)
        for key, role, median in (
            ("gen_ai.input.messages", "user", _INPUT_BYTES),
            ("gen_ai.output.messages", "assistant", _OUTPUT_BYTES),
        ):
            length = int(np.clip(rng.lognormal(np.log(median), 0.35), median / 4, median * 6))
            opening = f'[{{"role":"{role}","parts":[{{"type":"text","content":"'.encode()
            span.attribute(key, opening, "text", length, b'"}]}]')
        # The status: a message of one field, its code.
        span.add(b"\x7a\x02\x18")
        span.slots.append(("status", len(span.data), 1))
        span.add(b"\x01")
        return span


class _Part:
    """An encoded message, and (kind, position, length) of each slot in it."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.slots: list[tuple[str, int, int]] = []

    def add(self, data: bytes) -> None:
        self.data += data

    def slot(self, tag: int, kind: str, length: int) -> None:
        self.data += bytes([tag]) + _varint(length)
        self.slots.append((kind, len(self.data), length))
        self.data += bytes(length)

    def fixed(self, tag: int, kind: str) -> None:
        self.data.append(tag)
        self.slots.append((kind, len(self.data), 8))
        self.data += bytes(8)

    def attribute(self, key: str, before: bytes, kind: str, length: int, after: bytes = b"") -> None:
        """Append an attribute (field 9) whose text is ``before``, a slot, and ``after``."""
        value = _Part(b"\x0a" + _varint(len(before) + length + len(after)) + before)
        value.slots.append((kind, len(value.data), length))
        value.data += bytes(length) + after
        pair = _Part(_text(0x0A, key))
        pair.nest(0x12, value)
        self.nest(0x4A, pair)

    def nest(self, tag: int, part: _Part) -> None:
        """Append ``part`` as a field of its own."""
        self.data += bytes([tag]) + _varint(len(part.data))
        self.join(part)

    def join(self, part: _Part) -> None:
        """Append the fields of ``part`` to these."""
        base = len(self.data)
        self.slots += [(kind, base + start, length) for kind, start, length in part.slots]
        self.data += part.data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(tag: int, value: bytes) -> bytes:
    return bytes([tag]) + _varint(len(value)) + value


def _text(tag: int, value: str) -> bytes:
    return _bytes(tag, value.encode())


def _attribute(key: str, value: str) -> bytes:
    return _text(0x0A, key) + _bytes(0x12, _text(0x0A, value))
