"""``agenttrace up``: binds the ports, starts the parts of a server, restarts what dies, ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from agenttrace_core.errors import ConfigurationError
from agenttrace_server import datafolder
from agenttrace_server.datafolder import Endpoints
from agenttrace_server.live_folder import remove_live_folder
from agenttrace_server.settings import Settings
from agenttrace_server.supervisor_child import Assignment, Role
from agenttrace_server.supervisor_sockets import listen, port_of, reachable, reserve

EXIT_CONFIGURATION = 2
"""A process that ends with this before the server has served cannot be helped by starting it again.

Later, the others go on serving without it, and it is tried again: doors keep taking what a
writer that has lost its disk for a while will write.
"""

_ENDING_ORDER = (Role.INGEST, Role.COMPACT, Role.WRITE, Role.QUERY)
"""Doors first, so that nothing new comes; then the writer, which publishes the rest; readers last."""

_BEHIND = frozenset({Role.COMPACT})
"""Started once the others serve, so that a start is not the slower for them; nobody waits for them."""

_DRAIN_S = 30.0
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
_HEALTHY_AFTER_S = 10.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ports:
    """Sockets bound by the supervisor for as long as it lives."""

    api: socket.socket
    otlp_http: socket.socket
    otlp_grpc: socket.socket

    @classmethod
    def bind(cls, settings: Settings) -> Ports:
        """Take the ports.

        Raises:
            ConfigurationError: one is taken, or an address is not this machine's.
        """
        ingest, query = settings.ingest, settings.query
        return cls(
            api=listen("query.port", query.host, query.port),
            otlp_http=listen("ingest.port", ingest.host, ingest.port),
            otlp_grpc=reserve("ingest.grpc_port", ingest.host, ingest.grpc_port),
        )

    def endpoints(self, settings: Settings) -> Endpoints:
        """Return where callers reach them."""
        return Endpoints(
            api=f"http://{reachable(settings.query.host, port_of(self.api))}",
            otlp_http=f"http://{reachable(settings.ingest.host, port_of(self.otlp_http))}",
            otlp_grpc=reachable(settings.ingest.host, port_of(self.otlp_grpc)),
        )

    def applied_to(self, settings: Settings) -> Settings:
        """Return the settings with the ports that were taken."""
        ingest = {"port": port_of(self.otlp_http), "grpc_port": port_of(self.otlp_grpc)}
        return settings.model_copy(
            update={
                "ingest": settings.ingest.model_copy(update=ingest),
                "query": settings.query.model_copy(update={"port": port_of(self.api)}),
            }
        )

    def listener_of(self, role: Role) -> int:
        """Return the descriptor that a part of the server accepts from, -1 if it has none."""
        listeners = {Role.INGEST: self.otlp_http, Role.QUERY: self.api}
        return listeners[role].fileno() if role in listeners else -1

    def close(self) -> None:
        """Give the ports back."""
        for bound in (self.api, self.otlp_http, self.otlp_grpc):
            bound.close()


@dataclass(slots=True)
class _Child:
    role: Role
    process: asyncio.subprocess.Process | None = None
    ready: bool = False
    restarts: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Keeps one process of each part running until it is told to stop."""

    def __init__(self, settings: Settings, ports: Ports, on_ready: Callable[[Endpoints], None]) -> None:
        """Prepare; nothing is started yet. ``on_ready`` is called once, when all parts serve."""
        self._settings = ports.applied_to(settings)
        self._ports = ports
        self._endpoints = ports.endpoints(settings)
        self._on_ready = on_ready
        self._children = [_Child(role) for role in _ENDING_ORDER]
        self._stopping = asyncio.Event()
        self._serving = asyncio.Event()
        self._failure: str | None = None

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then end the children in order.

        Raises:
            ConfigurationError: a child cannot run as configured; it has said why.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._tell_status()
        async with asyncio.TaskGroup() as tasks:
            for child in self._children:
                tasks.create_task(self._keep(child))
            await self._stopping.wait()
            self._serving.set()  # whoever still waits for it has nothing more to wait for
            datafolder.forget_endpoints(self._settings.data)
            await self._end()
        if self._failure is not None:
            raise ConfigurationError(self._failure)

    async def _keep(self, child: _Child) -> None:
        if child.role in _BEHIND:
            await self._serving.wait()
        pause = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._run_once(child)
            if self._stopping.is_set():
                break
            if code == EXIT_CONFIGURATION and not self._serving.is_set():
                self._failure = f"{child.role} cannot run as configured; the reason is above"
                self._stopping.set()
                break
            child.ready = False
            child.restarts += 1
            self._tell_status()
            was_healthy = time.monotonic() - started > _HEALTHY_AFTER_S
            pause = _FIRST_PAUSE_S if was_healthy else min(2 * pause, _LONGEST_PAUSE_S)
            _log.warning("restarting", part=child.role, exit_code=code, pause_s=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        child.ended.set()

    async def _run_once(self, child: _Child) -> int:
        reading, writing = os.pipe()
        listener = self._ports.listener_of(child.role)
        assignment = Assignment(
            role=child.role,
            parent=os.getpid(),
            status=writing,
            listener=listener,
            settings=self._settings.model_dump(mode="json"),
        )
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "agenttrace_server", "child", child.role,
                stdin=asyncio.subprocess.PIPE,
                pass_fds=[fd for fd in (writing, listener) if fd >= 0],
                # Ctrl-C of a terminal goes to its foreground group; the order of ending is ours to keep.
                process_group=0,
            )  # fmt: skip
        finally:
            os.close(writing)
        child.process = process
        if self._stopping.is_set():  # told to stop while the process was being made
            _send(child, signal.SIGTERM)
        watching = asyncio.create_task(self._watch(child, reading))
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await process.communicate(assignment.to_json())
            return await process.wait()
        finally:
            child.process = None
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, child: _Child, reading: int) -> None:
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading, "rb", 0)
        )
        try:
            if await stream.readline() == b"ready\n" and not self._stopping.is_set():
                child.ready = True
                self._tell_status()
                self._announce()
        finally:
            transport.close()

    def _announce(self) -> None:
        if self._serving.is_set() or not all(child.ready or child.role in _BEHIND for child in self._children):
            return
        self._serving.set()
        datafolder.write_endpoints(self._settings.data, self._endpoints)
        self._on_ready(self._endpoints)

    def _tell_status(self) -> None:
        datafolder.write_json(
            self._settings.data / "status.json",
            {
                child.role: {
                    "ready": child.ready,
                    "pid": child.process.pid if child.process else None,
                    "restarts": child.restarts,
                }
                for child in self._children
                if child.role not in _BEHIND
            },
        )

    async def _end(self) -> None:
        give_up = time.monotonic() + _DRAIN_S - 1.0
        for child in self._children:
            _send(child, signal.SIGTERM)
            try:
                await asyncio.wait_for(child.ended.wait(), max(0.1, give_up - time.monotonic()))
            except TimeoutError:
                _log.error("killing: it did not drain in time", part=child.role)
                _send(child, signal.SIGKILL)


def _send(child: _Child, number: signal.Signals) -> None:
    if child.process is not None:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(number)


def parts_ready(folder: Path) -> Mapping[str, bool]:
    """Return which parts of a supervised server serve, as its supervisor last said; empty if none runs."""
    return {part: bool(state.get("ready")) for part, state in datafolder.read_json(folder / "status.json").items()}


def supervise(settings: Settings, on_ready: Callable[[Endpoints], None]) -> None:
    """Own the data folder, and run all parts of a server until SIGTERM.

    Raises:
        ConfigurationError: the folder is in use or newer, a port is taken, or a part cannot run
            as configured.
    """
    folder = settings.data
    datafolder.check(folder)
    with datafolder.folder_lock(folder) as lock:
        lock.acquire()
        datafolder.mark(folder)
        datafolder.forget_endpoints(folder)
        ports = Ports.bind(settings)
        try:
            asyncio.run(Supervisor(settings, ports, on_ready).run())
        finally:
            datafolder.forget_endpoints(folder)
            ports.close()
            _forget_live(settings)


def _forget_live(settings: Settings) -> None:
    with datafolder.writer_lock(settings.data) as lock, contextlib.suppress(ConfigurationError):
        lock.acquire()  # refused where a writer of another process publishes into it
        remove_live_folder(settings.data, needed_bytes=settings.write.live_bytes)
