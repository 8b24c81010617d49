"""Where tests cut a service off: between two steps that a crash could part."""

from __future__ import annotations

from collections.abc import Callable

Failpoint = Callable[[str], None]
"""Is told the name of each step as it ends, and may not return."""


def no_failpoint(name: str) -> None:
    """Let the service go on, as in production."""
    del name
