"""Headers and bodies as Kafka's records, and back.

The value of a record is an OTLP ``ExportTraceServiceRequest``, as the OpenTelemetry Collector's Kafka
exporter writes it and its receiver reads it. What else goes through the queue (logs, refusals, references)
is put into one field of that message which OTLP does not have, so that a Collector, or any other reader of
traces, finds a request without spans there and goes on.
"""

from __future__ import annotations

from aiokafka.structs import ConsumerRecord

from agenttrace_core.errors import CorruptionError
from agenttrace_core.ports.queue import Headers, Position, Record, Signal

PROJECT = "agenttrace-project"
SIGNAL = "agenttrace-signal"
RECEIVED_NS = "agenttrace-received-ns"
OVERHEAD_BYTES = 2048
"""More than what a record takes beside its body, with a project's name of up to 1700 bytes."""

_ASIDE = b"\xfa\xff\xff\xff\x0f"  # field 536870911, the greatest that protobuf has, length-delimited
_LATEST_MS = (1 << 63) // 1_000_000 - 1
_SIGNALS = {s.encode(): s for s in Signal}


class Outgoing:
    """A record on its way. ``size`` is at most what it takes in a batch, before compression."""

    __slots__ = ("headers", "size", "value")

    def __init__(self, headers: Headers, body: bytes) -> None:
        self.value = body if headers.signal is Signal.TRACES else _aside(body)
        self.headers = [
            (PROJECT, headers.project.encode(errors="surrogatepass")),
            (SIGNAL, headers.signal.encode()),
            (RECEIVED_NS, b"%d" % headers.received_ns),
        ]
        self.size = len(self.value) + len(self.headers[0][1]) + 256


def to_record(found: ConsumerRecord, partition: int, default_project: str) -> Record:
    """Return a record as it was appended; one without our headers is traces, received when Kafka stored it.

    Raises:
        CorruptionError: its headers are not ours, nor absent.
    """
    headers = dict(found.headers)
    position = Position(partition, found.offset, found.offset + 1)
    project = headers.get(PROJECT)
    received = headers.get(RECEIVED_NS)
    try:
        signal = _SIGNALS[headers.get(SIGNAL) or Signal.TRACES.encode()]
        made = Headers(
            default_project if project is None else project.decode(errors="surrogatepass"),
            signal,
            _nanoseconds(found.timestamp) if received is None else int(received),
        )
        body = found.value or b""
        return Record(position, made, body if signal is Signal.TRACES else _from_aside(body))
    except (KeyError, ValueError, IndexError) as error:
        raise CorruptionError(
            f"the record at offset {found.offset} of partition {partition} has headers of no known form: {error!r}",
            skip_to=found.offset + 1,
        ) from error


def _nanoseconds(timestamp_ms: int) -> int:
    """Return Kafka's time of a record in nanoseconds; 0 where it has none, or one that is no time in milliseconds."""
    return timestamp_ms * 1_000_000 if 0 <= timestamp_ms <= _LATEST_MS else 0


def _aside(body: bytes) -> bytes:
    return b"".join((_ASIDE, _varint(len(body)), body))


def _from_aside(value: bytes) -> bytes:
    """Return the body out of its field; a value that has no such field is a body itself."""
    if not value.startswith(_ASIDE):
        return value
    at, length, shift = len(_ASIDE), 0, 0
    while True:
        byte = value[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    if len(value) != at + length:
        raise ValueError(f"a body of {length} bytes in {len(value) - at}")
    return value[at:]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
