"""AgentTrace as a user starts it: ``agenttrace up`` on a folder of its own and on free ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import ledger, meter
from tests.benchmarks.client import Client

_READY_WITHIN_S = 120.0
_DRAINS_WITHIN_S = 60.0


def process_name(command: list[str]) -> str:
    """Name a process of the server by its part: ``up``, ``ingest``, ``write`` and so on."""
    if "child" in command:
        return command[command.index("child") + 1]
    return next((word for word in command if word in {"up", "ingest", "write", "query", "compact"}), "other")


@dataclass(slots=True)
class Server:
    """A server, started at ``begun`` (monotonic seconds). Its own words are in a file beside its folder."""

    folder: Path
    process: subprocess.Popen[bytes]
    otlp_url: str
    api_url: str
    begun: float

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        return self.process.pid

    @property
    def pids(self) -> Sequence[int]:
        """The roots of all its processes."""
        return [self.pid]

    @property
    def process_name(self) -> Callable[[list[str]], str]:
        """Names its processes."""
        return process_name

    def pid_of(self, part: str) -> int:
        """Return the process id of a part of the server, such as ``write``."""
        return int(json.loads((self.folder / "status.json").read_text())[part]["pid"])

    async def ready(self) -> float:
        """Wait until it serves: its endpoints written and ``/readyz`` 200; return the seconds since its start.

        Raises:
            RuntimeError: it ended, or does not serve in time.
        """
        client = self.client()
        try:
            while not ((self.folder / "endpoints.json").exists() and await client.succeeds("/readyz")):
                if self.process.poll() is not None or time.monotonic() - self.begun > _READY_WITHIN_S:
                    self.kill()
                    said = self.folder.with_suffix(".log")
                    raise RuntimeError(f"agenttrace up does not serve (status {self.process.poll()}); see {said}")
                await asyncio.sleep(0.01)
        finally:
            await client.aclose()
        return time.monotonic() - self.begun

    def client(self) -> Client:
        """Return a client of its API."""
        return Client(self.api_url)

    def ledger(self) -> ledger.Ledger:
        """Return what its folder holds now."""
        return ledger.read(self.folder)

    async def look(self) -> ledger.Ledger:
        """Return what its folder holds now, without holding up the event loop."""
        return await asyncio.to_thread(self.ledger)

    async def written(self, rows: int, *, within_s: float, every_s: float = 0.2) -> float:
        """Wait until files hold at least ``rows`` spans; return the seconds that it took.

        Raises:
            TimeoutError: they do not within ``within_s``.
        """
        begun = time.monotonic()
        while (found := (await self.look()).rows) < rows:
            if time.monotonic() - begun > within_s:
                raise TimeoutError(f"files hold {found:,} spans after {within_s:.0f} s, not {rows:,}")
            await asyncio.sleep(every_s)
        return time.monotonic() - begun

    def kill(self) -> None:
        """Kill all of it at one blow, as a power cut would."""
        pids = meter.tree(self.process.pid)
        for pid in pids:  # stopped first, so that none sees another die
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> float:
        """End it in order, with SIGTERM; return the seconds that it took. Idempotent."""
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_DRAINS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return time.monotonic() - begun


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports that were free a moment ago, known before the server is there to say so."""

    api: int
    otlp: int
    grpc: int

    @classmethod
    def free(cls) -> Ports:
        """Find three."""
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for found in sockets:
                found.bind(("127.0.0.1", 0))
            return cls(*(found.getsockname()[1] for found in sockets))


def spawn(folder: Path, ports: Ports, *, options: Mapping[str, str] | None = None) -> Server:
    """Start a server on ``folder`` and do not wait for it. ``options`` are configuration keys and their values."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AGENTTRACE_")}
    for key, value in (options or {}).items():
        environment["AGENTTRACE_" + key.upper().replace(".", "__")] = value
    command = [
        str(Path(sys.executable).with_name("agenttrace")), "up", "--data", str(folder),
        "--port", str(ports.api), "--otlp-port", str(ports.otlp), "--grpc-port", str(ports.grpc),
    ]  # fmt: skip
    # What a killed predecessor said of itself would be taken for this one's word.
    (folder / "endpoints.json").unlink(missing_ok=True)
    begun = time.monotonic()
    with folder.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    host = "http://127.0.0.1"
    return Server(folder, process, f"{host}:{ports.otlp}/v1/traces", f"{host}:{ports.api}", begun)


@contextlib.asynccontextmanager
async def running(folder: Path, *, options: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """Start a server, wait until it serves, and stop it in order at the end of the block."""
    server = spawn(folder, Ports.free(), options=options)
    try:
        await server.ready()
        yield server
    finally:
        await asyncio.to_thread(server.stop)
