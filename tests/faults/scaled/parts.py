"""One part of a server as a process: ``agenttrace ingest``, ``write``, ``query`` or ``compact``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.running import until

_ENDS_WITHIN_S = 40.0


@dataclass(frozen=True)
class FailAt:
    """A step of a service, and the signal that the process sends itself there: SIGKILL or SIGSTOP."""

    step: str
    on_visit: int = 1
    signal: signal.Signals = signal.SIGKILL


class Part:
    """A process that can be killed, paused, resumed and started again.

    Args:
        name: what its log and data folder are called.
        folder: where they are.
        command: what is behind ``agenttrace``.
        variables: its environment.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        command: Sequence[str],
        variables: Mapping[str, str],
    ) -> None:
        self.name = name
        self.data = folder / name
        self._command = command
        self._environment = {**variables, "AGENTTRACE_DATA": str(self.data)}
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / f"{name}.log"
        self._told = 0
        self._is_special = False

    @property
    def is_special(self) -> bool:
        """Whether it was started to fail at a step, or otherwise than it should be."""
        return self.runs and self._is_special

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(
        self, fail_at: FailAt | None = None, within: Sequence[str] = (), defect: str = "", **variables: str
    ) -> None:
        """Start it if it does not run, and do not wait until it serves.

        ``defect`` is a text that it cannot decode, as if by a mistake of its release; ``within`` is a command that
        runs it, such as ``unshare``; ``variables`` are set besides its own.
        """
        if self.runs:
            return
        self._told, self._is_special = len(self.log()), bool(fail_at or within or defect or variables)
        program = ["-m", "agenttrace_server"]
        if fail_at is not None:
            program = ["-m", "tests.faults.scaled.failing", fail_at.step, str(fail_at.on_visit), fail_at.signal.name]
        if defect:
            program = ["-m", "tests.faults.scaled.defective", defect]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*within, sys.executable, *program, *self._command],
                env={**self._environment, **variables},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Return once it serves; it must not have ended."""
        until(self._is_ready)

    def start(self, fail_at: FailAt | None = None) -> None:
        """Start it, and return once it serves."""
        self.launch(fail_at)
        self.wait_ready()

    def _is_ready(self) -> bool:
        said = self.log()[self._told :]
        assert self.runs or '"ready"' in said, f"{self.name} ended: {said[-4000:]}"
        return '"ready"' in said

    def log(self) -> str:
        """Return all that it has said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def kill(self) -> None:
        """Kill -9 it."""
        self._signal(signal.SIGKILL)
        self.wait_dead()

    def pause(self) -> None:
        """Suspend it (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def stop(self) -> int:
        """End it by SIGTERM, and return its exit code."""
        self.resume()
        self._signal(signal.SIGTERM)
        return self.wait_dead()

    def wait_dead(self) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        assert self._process is not None
        try:
            return self._process.wait(_ENDS_WITHIN_S)
        finally:
            self._signal(signal.SIGKILL)

    def wait_paused(self) -> None:
        """Wait until it has suspended itself."""
        until(lambda: Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")

    def destroy(self) -> None:
        """End it at once, whatever its state."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def resident_bytes(self) -> int:
        """Return how much memory it takes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _signal(self, what: signal.Signals) -> None:
        # A part that was started by another program, such as unshare, is in its group.
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, what)
