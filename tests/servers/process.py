"""One server as a process: started on a port that stays its own, paused, killed, and started again."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

_ANSWERS_WITHIN_S = 60.0
_ENDS_WITHIN_S = 30.0
_PORTS = range(15_000, 32_000)
"""Below the ports that Linux gives to clients, so that nobody else takes one while its server is stopped."""

_chosen: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _chosen:
                _chosen.add(port)
                return port
    raise OSError("no port of 127.0.0.1 is free")


class ServerProcess(ABC):
    """A server with its data in a temporary folder. ``destroy`` ends it and removes the folder.

    Port and data outlive ``stop`` and ``kill``: ``start`` finds them again. Everything here blocks; an
    async test calls it on a thread.
    """

    _stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, user: str | None = None) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="agenttrace-server-"))
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port, as in ``127.0.0.1:9092``."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started, and has not ended."""
        return self._process is not None and self._process.poll() is None

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """The command that runs it in the foreground."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it answers; OSError means no."""

    def _environment(self) -> Mapping[str, str]:
        return {}

    def start(self) -> None:
        """Start it, and return once it answers.

        Raises:
            RuntimeError: it ended, or did not answer within a minute; the message has what it said.
        """
        if self.running:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(word) for word in self._command()], cwd=self.folder, env={**os.environ, **self._environment()},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self._as_user,
            )  # fmt: skip
        # Should this process be killed, nobody would end the server: the guard's input closes, and it does.
        self._guard = subprocess.Popen(
            ["sh", "-c", f"cat; kill -9 {self.pid}; rm -rf '{self.folder}'"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._wait_for_answer()

    def stop(self) -> None:
        """End it in its own way, within half a minute."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """End it at once, with all that it started (SIGKILL)."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay, nothing is answered (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause`` (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def restore(self) -> None:
        """Bring it up again, whatever was done to it."""
        if self.running:
            self.resume()
        self.start()

    def destroy(self) -> None:
        """End it and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return all that it has said."""
        return self._log.read_text(errors="replace")

    @property
    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []}

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _wait_for_answer(self) -> None:
        give_up = time.monotonic() + _ANSWERS_WITHIN_S
        while time.monotonic() < give_up:
            if not self.running:
                break
            with suppress(OSError):
                if self._answers():
                    return
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"{type(self).__name__} does not answer at {self.address}: {self.log()[-4000:]}")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self.running:
            self._signal(signal.SIGCONT)
            self._signal(how) if how == signal.SIGKILL else self._process.send_signal(how)
            try:
                self._process.wait(timeout=_ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._process.wait()
        self._process = None
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def _signal(self, what: signal.Signals) -> None:
        # The server first: it then starts no more children while they are told.
        for pid in (self.pid, *_children(self.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, what)


def _children(pid: int) -> Iterable[int]:
    with suppress(FileNotFoundError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from _children(int(child))
