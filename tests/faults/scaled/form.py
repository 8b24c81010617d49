"""How long the tests of faults are: short, or long with ``AGENTTRACE_FAULTS=long``."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

LONG = os.environ.get("AGENTTRACE_FAULTS") == "long"
SEEDS = range(1, 6) if LONG else range(1, 2)


def short_or_long(short: T, long: T) -> T:
    """Return what the form asks for."""
    return long if LONG else short
