"""Where a part of a server runs: in a process of its own, supervised or alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import uuid4

import structlog
import uvloop

from agenttrace_core.errors import AgentTraceError, ConfigurationError, UnavailableError
from agenttrace_server import datafolder
from agenttrace_server.logging import configure
from agenttrace_server.settings import Settings
from agenttrace_server.supervisor_child import Assignment, Role
from agenttrace_server.tuning import keep_freed_memory

_WITHOUT_A_PORT = (Role.WRITE, Role.COMPACT)
_NICE = {Role.WRITE: 5, Role.COMPACT: 10}
"""Who steps back for whom: work behind can wait, an acknowledgement and an answer cannot."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0
"""Between tries to begin while a backend is away."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a part knows of where it runs.

    ``listener`` is a bound socket that it was given, None if it has to bind its own. ``on_ready``
    is to be called once it serves. ``stop`` is set when it is to end. ``figures`` are added by a part that keeps
    its own to itself: each returns some in Prometheus' text format.
    """

    listener: socket.socket | None = None
    on_ready: Callable[[], None] = lambda: None
    supervised: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    figures: list[Callable[[], bytes]] = field(default_factory=list)

    def name(self, settings: Settings) -> str:
        """Return what names the part in leases: no other process has it, but for one that died in the same place."""
        if self.supervised:
            return f"up-{datafolder.server_id(settings.data)}"
        return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"


def run_child(assignment: Assignment) -> None:
    """Run a part for its supervisor, until SIGTERM."""
    settings = Settings.model_validate(assignment.settings)
    listener = socket.socket(fileno=assignment.listener) if assignment.listener >= 0 else None
    _run(assignment.role, settings, Place(listener, assignment.tell_ready, supervised=True))


def run_alone(role: Role, settings: Settings) -> None:
    """Run a part by itself, until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: the data folder, or a backend, cannot be used.
    """
    datafolder.check(settings.data)
    datafolder.mark(settings.data)
    _run(role, settings, Place(on_ready=lambda: structlog.get_logger().info("ready", part=role)))


def _run(role: Role, settings: Settings, place: Place) -> None:
    configure(settings.log.level, role)
    os.nice(_NICE.get(role, 0))
    keep_freed_memory()
    _allow_many_files()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_stopped(_main(role, settings, place), place))
    except Exception as error:  # noqa: BLE001 - the last place where it can be told in the form of the log
        cause = _innermost(error)
        if isinstance(cause, ConfigurationError):
            raise cause from None
        _tell_end(role, cause)
        raise SystemExit(1) from None


def _allow_many_files() -> None:
    """Raise the bound on open files as far as it goes: each sender is one, and each file that is mapped."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _main(role: Role, settings: Settings, place: Place) -> None:
    # Under a supervisor a part that ends is started again.
    part = _main_of(role) if place.supervised else partial(_once_backends_answer, _main_of(role))
    if role not in _WITHOUT_A_PORT:
        await part(settings, place)
        return
    from agenttrace_server.composition_health import health_port

    ready = asyncio.Event()

    def on_ready() -> None:
        ready.set()
        place.on_ready()

    async with health_port(settings, place, lambda: ready.is_set() and not place.stop.is_set()):
        await part(settings, replace(place, on_ready=on_ready))


async def _once_backends_answer(
    part: Callable[[Settings, Place], Awaitable[None]], settings: Settings, place: Place
) -> None:
    """Run a part, again and again until its backends are there: nobody starts one that is alone a second time."""
    has_served, pause = False, _FIRST_PAUSE_S

    def on_ready() -> None:
        nonlocal has_served
        has_served = True
        place.on_ready()

    while not place.stop.is_set():
        try:
            await part(settings, replace(place, on_ready=on_ready))
        except (UnavailableError, ExceptionGroup) as error:
            cause = _innermost(error)
            if has_served or not isinstance(cause, UnavailableError):
                raise
            message = "cannot begin: a backend does not answer; trying again"
            structlog.get_logger().warning(message, error=str(cause), after_s=pause)
        else:
            return
        place.figures.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(place.stop.wait(), pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _main_of(role: Role) -> Callable[[Settings, Place], Awaitable[None]]:
    # Each part imports what it needs alone: the doors have no use for DuckDB, nor the writer for gRPC.
    if role is Role.INGEST:
        from agenttrace_server.composition_doors import run_ingest

        return run_ingest
    if role is Role.QUERY:
        from agenttrace_server.composition_query import run_query

        return run_query
    if role is Role.COMPACT:
        from agenttrace_server.composition_compact import run_compact

        return run_compact
    from agenttrace_server.composition_writer import run_write

    return run_write


async def _until_stopped(part: Awaitable[None], place: Place) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, place.stop.set)
    await part


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _tell_end(role: Role, error: BaseException) -> None:
    log = structlog.get_logger()
    if isinstance(error, AgentTraceError):
        log.error("ended", part=role, kind=error.kind, reason=str(error))
    else:
        log.error("ended by a defect", part=role, exc_info=error)
