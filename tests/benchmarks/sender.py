"""A process that sends requests as fast, or as evenly, as it is told, and notes what became of each.

Run by ``load.py`` with its orders as JSON in the only argument. It prints ``ready``, waits for a line,
sends, tells of some acknowledged requests as they come (``ack NUMBER NANOSECONDS RECEIPT``), and ends
with ``done JSON``. Times are of the monotonic clock, which the processes of a machine share.

A hand-written client, because a general one would cost more than the server that it measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from tests.benchmarks.bodies import SPANS, Bodies

_RETRYABLE = frozenset({429, 502, 503, 504})  # OTLP 1.x, section "Retryable Response Codes"
_RECONNECT_S = 0.05
_RESPONSE_LIMIT = 65_536


@dataclass(frozen=True, slots=True)
class Orders:
    """What a sender does.

    ``rate`` is spans a second, evenly, whatever the server does; 0 means as fast as the connections
    allow. It ends after ``seconds`` or ``requests``, whichever is first (0: no such end), or when its
    input closes. ``spread_s`` lays the spans' times evenly over that long a past, which makes a minute's
    load look like a day's. One of every ``sample_every`` requests is told as it is acknowledged.
    ``record`` is where the requests' numbers and times are saved (.npy).
    """

    url: str
    record: str
    rate: float = 0.0
    seconds: float = 0.0
    requests: int = 0
    connections: int = 16
    seed: int = 1
    first: int = 0
    templates: int = 128
    sample_every: int = 0
    spread_s: float = 0.0
    give_up_s: float = 30.0


RECORD = np.dtype(
    [("request", "i8"), ("due_ns", "i8"), ("sent_ns", "i8"), ("acked_ns", "i8"), ("status", "i4"), ("tries", "i4")]
)
"""A row a request: when it was to be sent, was first sent, and had its last answer; 0 for no answer."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a sender did: answers by status (``0`` is a broken connection), and its own CPU seconds."""

    statuses: dict[str, int]
    acked_spans: int
    bytes_a_span: float
    cpu_s: float
    seconds: float


class _Sender:
    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        parts = urlsplit(orders.url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._head_bytes = 256
        self._bodies = Bodies(count=max(orders.templates, orders.connections), head=self._head_bytes)
        head = (
            f"POST {parts.path or '/v1/traces'} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: benchmark\r\n"
            f"Content-Type: application/x-protobuf\r\nContent-Length: {self._bodies.length}\r\n\r\n"
        ).encode()
        self._start = self._head_bytes - len(head)
        for template in self._bodies.templates:
            template[self._start : self._head_bytes] = np.frombuffer(head, dtype=np.uint8)
        self._free = deque(self._bodies.templates)
        self._rows: list[tuple[int, int, int, int, int, int]] = []
        self._statuses: Counter[int] = Counter()
        self._next = 0
        self._begun_ns = 0
        self._stopped = False

    async def run(self) -> Summary:
        """Send until an end that the orders name, and save the record."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._begun_ns = time.monotonic_ns()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._stop)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._orders.connections):
                group.create_task(self._connection())
        used = resource.getrusage(resource.RUSAGE_SELF)
        rows = np.array(sorted(self._rows), dtype=RECORD)
        await asyncio.to_thread(np.save, Path(self._orders.record), rows)
        return Summary(
            statuses={str(status): count for status, count in self._statuses.items()},
            acked_spans=int((rows["status"] == 200).sum()) * SPANS,
            bytes_a_span=self._bodies.length / SPANS,
            cpu_s=used.ru_utime + used.ru_stime - usage.ru_utime - usage.ru_stime,
            seconds=(time.monotonic_ns() - self._begun_ns) / 1e9,
        )

    def _stop(self) -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        self._stopped = True

    def _ticket(self) -> tuple[int, int] | None:
        """Take the next request's number and the time it is due; None at the end."""
        orders = self._orders
        number = self._next
        due = self._begun_ns + int(number * SPANS / orders.rate * 1e9) if orders.rate else time.monotonic_ns()
        late = orders.seconds and max(due, time.monotonic_ns()) - self._begun_ns > orders.seconds * 1e9
        if self._stopped or late or (orders.requests and number >= orders.requests):
            return None
        self._next += 1
        return orders.first + number, due

    async def _connection(self) -> None:
        stream = _Stream(self._address)
        with contextlib.closing(stream):
            while (ticket := self._ticket()) is not None:
                number, due = ticket
                if (wait := due - time.monotonic_ns()) > 0:
                    await asyncio.sleep(wait / 1e9)
                await self._send(stream, number, due)

    async def _send(self, stream: _Stream, number: int, due: int) -> None:
        body = self._free.popleft()
        self._bodies.patch(body, self._orders.seed, number, self._span_time(number))
        sent = time.monotonic_ns()
        status, tries, receipt = 0, 0, ""
        while True:
            tries += 1
            try:
                status, wait, receipt = await stream.exchange(body[self._start :].data)
            except OSError:
                status, wait = 0, _RECONNECT_S
                stream.close()
            self._statuses[status] += 1
            again = status == 0 or status in _RETRYABLE
            if not again or self._stopped or time.monotonic_ns() - sent > self._orders.give_up_s * 1e9:
                break
            await asyncio.sleep(wait)
        acked = time.monotonic_ns()
        self._free.append(body)
        self._rows.append((number, due, sent, acked if status else 0, status, tries))
        every = self._orders.sample_every
        if every and status == 200 and number % every == 0:
            print("ack", number, acked, receipt or "-", flush=True)

    def _span_time(self, number: int) -> int:
        orders = self._orders
        if not orders.spread_s or not orders.requests:
            return time.time_ns()
        left = 1.0 - (number - orders.first) / orders.requests
        return time.time_ns() - int(left * orders.spread_s * 1e9)


class _Stream:
    """One kept-alive connection, opened when it is needed."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def exchange(self, request: memoryview) -> tuple[int, float, str]:
        """Send a request; return the status, how long to wait before another try, and the receipt."""
        loop = asyncio.get_running_loop()
        connection = self._socket or await self._open()
        await loop.sock_sendall(connection, request)
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += await self._receive(connection)
        headers = dict(line.lower().partition(b":")[::2] for line in data[:end].split(b"\r\n")[1:])
        left = int(headers.get(b"content-length", b"0")) - (len(data) - end - 4)
        while left > 0:
            left -= len(await self._receive(connection))
        if headers.get(b"connection", b"").strip() == b"close":
            self.close()
        wait = float(headers.get(b"retry-after", b"1"))
        return int(data[9:12]), wait, _receipt(data[:end])

    async def _open(self) -> socket.socket:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        await asyncio.get_running_loop().sock_connect(connection, self._address)
        return connection

    @staticmethod
    async def _receive(connection: socket.socket) -> bytes:
        data = await asyncio.get_running_loop().sock_recv(connection, _RESPONSE_LIMIT)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def _receipt(head: bytes) -> str:
    """Return the receipt's id from a response's head; its case counts."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == b"agenttrace-receipt":
            return value.strip().decode()
    return ""


def main() -> None:
    """Carry out the orders in the first argument."""
    sender = _Sender(Orders(**json.loads(sys.argv[1])))
    print("ready", flush=True)
    sys.stdin.readline()
    summary = asyncio.run(sender.run())
    print("done", json.dumps(asdict(summary)), flush=True)


if __name__ == "__main__":
    main()
