"""The end of a process and the beginning of a forked one, however they come: exporters are told of both."""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from agenttrace.quiet import never_raises


class Watched(Protocol):
    """What is to be ended with the process, and begun anew in the child of a fork."""

    @property
    def exit_timeout_s(self) -> float:
        """How long the end of the process waits for it."""
        ...

    def shutdown(self, timeout_millis: int | None = None) -> None:
        """End, within the time."""

    def after_fork(self) -> None:
        """Begin anew in the child."""


_watched: weakref.WeakSet[Watched] = weakref.WeakSet()
_told_workers: list[Any] = []


def watch(exporter: Watched) -> None:
    """Shut it down at the end of this process, if somebody holds it until then."""
    if not _watched:
        _at_end_of_this_worker()
    _watched.add(exporter)


def let_go(exporter: Watched) -> None:
    """It has ended by itself."""
    _watched.discard(exporter)


def _at_exit() -> None:
    """Shut down all of them within the time of one."""
    begun = time.monotonic()
    for exporter in list(_watched):
        left_s = exporter.exit_timeout_s - (time.monotonic() - begun)
        never_raises(exporter.shutdown)(int(max(0.0, left_s) * 1000))


def _after_fork_in_child() -> None:
    for exporter in list(_watched):
        exporter.after_fork()
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _told_workers:
        _told_workers.append(util)
        # A worker forgets what its parent wanted done at the end, and then does this.
        util.register_after_fork(_at_exit, _finalize)


def _at_end_of_this_worker() -> None:
    """A process of ``multiprocessing`` ends without ``atexit``, but not without this."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        _finalize(_at_exit)


def _finalize(at_exit: Callable[[], None]) -> None:
    from multiprocessing.util import Finalize

    Finalize(None, at_exit, exitpriority=0)


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
