"""Code of ours that runs in the middle of the program's: whatever is wrong in it must not become the program's."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("agenttrace")


def never_raises(function: Callable[P, R]) -> Callable[P, R | None]:
    """Return ``function`` so that it returns None, and logs why, where it would raise."""
    name = getattr(function, "__qualname__", repr(function))

    @functools.wraps(function)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception:  # noqa: BLE001 - that is what this is for
            _log.warning("%s failed; the program goes on, its record may be incomplete", name,
                         exc_info=True)  # fmt: skip
            return None

    return quiet
