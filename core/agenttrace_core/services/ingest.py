"""The doors' service: checks a request, appends it to the queue, and only then acknowledges it."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

from agenttrace_core.errors import AgentTraceError, InvalidInputError
from agenttrace_core.model.principal import Principal
from agenttrace_core.model.receipt import Receipt
from agenttrace_core.ports.queue import Headers, Signal
from agenttrace_core.services.admission import Admission
from agenttrace_core.services.appender import Appender, ends_of
from agenttrace_core.services.checks import Checked, check
from agenttrace_core.services.refusals import Refusals, RefusedInput
from agenttrace_core.wire.status import Encoding

T = TypeVar("T")

_POLL_S = 0.25
# Checking holds the event loop: about 1.5 ms a megabyte of protobuf, thirty times that of JSON.
_INLINE_BYTES = {Encoding.PROTOBUF: 4 << 20, Encoding.JSON: 64 << 10}
_CHECKING_THREADS = 2


@dataclass(frozen=True, slots=True)
class Ingested:
    """An acknowledgement: what was accepted is durable.

    ``accepted`` and ``rejected`` count spans or log records; ``reason`` is empty where nothing
    was rejected.
    """

    receipt_id: str
    accepted: int
    rejected: int
    reason: str = ""


class IngestMetrics(Protocol):
    """What is told of every request that reaches the service. Called on the way of an acknowledgement: be quick."""

    @abstractmethod
    def stored(self, signal: Signal, items: int, size: int, append_s: float) -> None:
        """``items`` spans or log records in ``size`` bytes were appended, which took ``append_s`` seconds."""

    @abstractmethod
    def refused(self, signal: Signal, kind: str, items: int) -> None:
        """``items`` were refused (0 if unknown); ``kind`` is an error's, or ``invalid_item``."""

    @abstractmethod
    def forgotten(self, signal: Signal) -> None:
        """Refused input was not kept as a dead letter, because there was too much of it."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many spans or log records a request was made without, and why."""

    spans: int = 0
    reason: str = ""


_NONE = LeftOut()


class IngestService:
    """Takes requests of all doors.

    ``run`` must be running beside them: it looks after the backlog, and keeps what is refused.

    Args:
        appender: where requests go.
        receipt_key: the deployment's secret, with which receipts are signed.
        admission: the bounds, shared with the doors that read bodies.
        refusals: what keeps refused input.
        metrics: is told of every request.
        backlog: reads the bytes that are not in files yet (``admission.backlog_bytes``); None where
            the queue cannot tell.
        clock_ns: nanoseconds since the epoch.
    """

    def __init__(
        self,
        appender: Appender,
        receipt_key: bytes,
        *,
        admission: Admission,
        refusals: Refusals,
        metrics: IngestMetrics,
        backlog: Callable[[], Awaitable[int]] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.admission = admission
        self._appender = appender
        self._receipt_key = receipt_key
        self._refusals = refusals
        self._metrics = metrics
        self._backlog = backlog
        self._clock_ns = clock_ns
        self._checking = anyio.Semaphore(_CHECKING_THREADS)

    async def traces(
        self, principal: Principal, body: bytes, encoding: Encoding = Encoding.PROTOBUF, *, left_out: LeftOut = _NONE
    ) -> Ingested:
        """Store an ``ExportTraceServiceRequest``, and return once it is durable.

        Spans that cannot be stored are left out and counted; their neighbours are stored. The receipt
        tells of them, and of those that whoever made the request has ``left_out`` before.

        Raises:
            InvalidInputError: the body cannot be read at all; nothing was stored.
            OverloadedError: there is no room now; nothing was stored.
            UnavailableError: it could not be made durable, or not all of it. The same request may be sent again.
        """
        return await self._take(principal.project, Signal.TRACES, body, encoding, left_out)

    async def logs(
        self, principal: Principal, body: bytes, encoding: Encoding = Encoding.PROTOBUF, *, left_out: LeftOut = _NONE
    ) -> Ingested:
        """Store the GenAI events of an ``ExportLogsServiceRequest``; other records are refused.

        Raises: as ``traces`` does.
        """
        return await self._take(principal.project, Signal.LOGS, body, encoding, left_out)

    async def read(self, parse: Callable[[bytes], T], body: bytes) -> T:
        """Return what ``parse`` makes of a body in a form that is not OTLP, in one of the few threads for that.

        Raises:
            OverloadedError: the process holds too many bodies. ``parse`` may raise what it likes.
        """
        with self.admission.holding(len(body)):
            return await self._in_thread(parse, body)

    async def run(self) -> None:
        """Look after the backlog and the refused, until cancelled or ``close``."""
        async with anyio.create_task_group() as tasks:
            if self._backlog is not None:
                tasks.start_soon(self._watch_backlog, self._backlog)
            await self._refusals.run()
            tasks.cancel_scope.cancel()

    def close(self) -> None:
        """Have ``run`` end once it has kept what was refused. Call when no door is open any more."""
        self._refusals.close()

    async def _take(
        self, project: str, signal: Signal, body: bytes, encoding: Encoding, left_out: LeftOut = _NONE
    ) -> Ingested:
        received_ns = self._clock_ns()
        try:
            with self.admission.holding(len(body)):
                await self.admission.admit(project, len(body))
                checked = await self._check(signal, body, encoding)
                ends = await self._append(project, signal, received_ns, checked)
        except AgentTraceError as error:
            self._metrics.refused(signal, error.kind, 0)
            if type(error) is InvalidInputError:
                self._keep(RefusedInput(project, signal, received_ns, str(error), 0, encoding, body))
            raise
        if checked.rejected:
            self._metrics.refused(signal, "invalid_item", checked.rejected)
            self._keep(
                RefusedInput(
                    project, signal, received_ns, checked.reason, checked.rejected,
                    checked.refused_encoding, checked.refused_body,
                )
            )  # fmt: skip
        rejected, reason = checked.rejected + left_out.spans, checked.reason or left_out.reason
        receipt = Receipt(
            project, signal, ends, checked.accepted, rejected, received_ns, reason,
        )  # fmt: skip
        return Ingested(receipt.sign(self._receipt_key), checked.accepted, rejected, reason)

    async def _check(self, signal: Signal, body: bytes, encoding: Encoding) -> Checked:
        if len(body) <= _INLINE_BYTES[encoding]:
            return check(signal, body, encoding)
        return await self._in_thread(partial(check, signal, encoding=encoding), body)

    async def _in_thread(self, parse: Callable[[bytes], T], body: bytes) -> T:
        # What JSON becomes takes many times its bytes.
        async with self._checking:
            return await anyio.to_thread.run_sync(parse, body)

    async def _append(self, project: str, signal: Signal, received_ns: int, checked: Checked) -> Mapping[int, int]:
        if not checked.accepted:
            return {}
        began = time.perf_counter()
        positions = await self._appender.append(Headers(project, signal, received_ns), checked.body)
        size = len(checked.body)
        self.admission.stored(size)
        self._metrics.stored(signal, checked.accepted, size, time.perf_counter() - began)
        return ends_of(positions)

    def _keep(self, refused: RefusedInput) -> None:
        if not self._refusals.add(refused):
            self._metrics.forgotten(refused.signal)

    async def _watch_backlog(self, backlog: Callable[[], Awaitable[int]]) -> None:
        while True:
            # While it cannot be seen, what is stored adds to what was seen last, so that it stays bounded.
            with suppress(AgentTraceError):
                self.admission.seen_backlog(await backlog())
            await anyio.sleep(_POLL_S)
