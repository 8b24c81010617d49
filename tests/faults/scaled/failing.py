"""``python -m tests.faults.scaled.failing STEP VISIT SIGNAL COMMAND…`` runs ``agenttrace COMMAND…``.

It sends itself the signal where a service reaches a step (see ``services/failpoint.py``) for the VISIT-th time:
SIGKILL is a crash there, SIGSTOP a machine that is suspended there.
"""

from __future__ import annotations

import os
import sys
from signal import Signals

from agenttrace_core.services.compact import CompactService
from agenttrace_core.services.write import WriteService
from agenttrace_server.cli.main import main


def fail_at(step: str, on_visit: int, number: int) -> None:
    """Have every writer and compactor of this process signal it at ``step``."""
    visits = 0

    def failpoint(name: str) -> None:
        nonlocal visits
        visits += name == step
        if name == step and visits == on_visit:
            os.kill(os.getpid(), number)

    for service in (WriteService, CompactService):
        defaults = service.__init__.__kwdefaults__
        assert defaults is not None
        defaults["failpoint"] = failpoint


if __name__ == "__main__":
    fail_at(sys.argv[1], int(sys.argv[2]), Signals[sys.argv[3]])
    main(sys.argv[4:])
