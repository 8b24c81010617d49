"""A supervised process: what it is told, and how it answers.

The assignment comes on standard input, because a settings URL may hold a password, and
command lines can be read by every user of a machine.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from agenttrace_core.errors import ConfigurationError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Role(StrEnum):
    """The parts of a server. Each runs as a process of its own, supervised or alone."""

    INGEST = "ingest"
    WRITE = "write"
    QUERY = "query"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a child is to do.

    ``settings`` is the JSON form of ``Settings`` with the ports that were taken. ``listener`` is
    the inherited descriptor of its listening socket, -1 if it has none; ``status`` is the one into
    which it writes a line once it serves.
    """

    role: Role
    parent: int
    status: int
    listener: int = -1
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the form in which it is handed to the child."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls) -> Assignment:
        """Read one from standard input, to its end.

        Raises:
            ConfigurationError: it holds something else: this process was not started by a supervisor.
        """
        try:
            fields: dict[str, Any] = json.loads(sys.stdin.buffer.read())
            return cls(role=Role(fields.pop("role")), **fields)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError("`agenttrace child` is for `agenttrace up` alone") from error

    def tell_ready(self) -> None:
        """Say to the supervisor that this process serves."""
        os.write(self.status, b"ready\n")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` dies, however it dies.

    Else a server killed with -9 would leave children behind that hold its ports and locks.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the request was made
        os.kill(os.getpid(), signal.SIGKILL)
