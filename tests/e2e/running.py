"""A whole server in a folder, started and ended as its users do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx

from agenttrace_server.live_folder import remove_live_folder
from agenttrace_server.settings import WriteSettings

T = TypeVar("T")

_PATIENCE_S = 60.0
"""Starting takes a second or two; a machine that runs other tests beside may need many more."""


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without settings of a server, and with ``variables``."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("AGENTTRACE_")}, **variables}


def until(found: Callable[[], T], patience_s: float = _PATIENCE_S) -> T:
    """Return the first truth that ``found`` returns, asking again and again.

    Raises:
        TimeoutError: there was none for ``patience_s`` seconds.
    """
    give_up = time.monotonic() + patience_s
    while not (value := found()):
        if time.monotonic() > give_up:
            raise TimeoutError(f"still {value!r} after {patience_s} s")
        time.sleep(0.02)
    return value


class RunningServer:
    """``agenttrace up`` on free ports in ``folder``."""

    def __init__(self, folder: Path, **variables: str) -> None:
        """Prepare; ``variables`` are settings in the environment."""
        self.folder = folder
        self._environment = environment(**variables)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._log = folder.with_name(f"{folder.name}.log")

    def start(self) -> None:
        """Start it, and return when every door is open."""
        command = [sys.executable, "-m", "agenttrace_server", "up", "--data", str(self.folder)]
        command += ["--port", "0", "--otlp-port", "0", "--grpc-port", "0"]
        self._started = time.time()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        until(self._is_up)

    def _is_up(self) -> bool:
        assert self._process is not None
        ended = self._process.poll()
        assert ended is None, f"up ended with {ended}: {self.log()}"
        # A server that was killed leaves its file behind, until its successor writes another.
        written = self.folder / "endpoints.json"
        return written.exists() and written.stat().st_mtime >= self._started and bool(self.endpoints())

    def log(self) -> str:
        """Return all that it has said."""
        return self._log.read_text()

    def endpoints(self) -> dict[str, str]:
        """Return what it wrote down about its doors."""
        try:
            found: dict[str, str] = json.loads((self.folder / "endpoints.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def pid_of(self, part: str) -> int:
        """Return the pid of one of its processes once it serves; ``up`` is the supervisor."""
        if part == "up":
            assert self._process is not None
            return self._process.pid
        return int(until(lambda: self.status()[part]["ready"] and self.status()[part]["pid"]))

    def status(self) -> dict[str, Any]:
        """Return what the supervisor says of its parts."""
        found: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        return found

    def kill(self, part: str) -> None:
        """Kill -9 one process; of the supervisor, wait for its end."""
        os.kill(self.pid_of(part), signal.SIGKILL)
        if part == "up" and self._process is not None:
            self._process.wait()

    def stop(self) -> int:
        """End it by SIGTERM and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=40)

    def destroy(self) -> None:
        """End it whatever its state, and take back the memory that a killed one could not."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        remove_live_folder(self.folder, needed_bytes=WriteSettings().live_bytes)

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON at a path of the API, which must answer with 200."""
        endpoints = self.endpoints()
        assert endpoints, f"the server has gone: {self.log()}"
        answer = httpx.get(endpoints["api"] + path, params=query, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def traces(self) -> list[dict[str, Any]]:
        """Return the summaries of all traces."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            answer = self.get("/api/v1/traces", limit=1000, **cursor)
            found += answer["items"]
            if not answer["next_cursor"]:
                return found
            cursor = {"cursor": answer["next_cursor"]}

    def cli(self, arguments: Sequence[str], code: int = 0) -> str:
        """Run a command against its data folder; return what it printed. It must end with ``code``."""
        ended = subprocess.run(
            [sys.executable, "-m", "agenttrace_server", *arguments, "--data", str(self.folder)],
            env=environment(), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ended.returncode == code, ended.stderr + ended.stdout
        assert "Traceback" not in ended.stderr
        return ended.stdout + ended.stderr
