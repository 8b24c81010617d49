"""dependency-injector without the frameworks that it looks for.

It imports FastAPI and pydantic-settings if they are installed, for integrations that nobody here
uses. That would cost each process of a server 0.3 s of CPU and 20 MB at its start.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def _unseen(*names: str) -> Generator[None]:
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # None has imports fail, as documented for sys.modules
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _unseen("fastapi", "starlette", "pydantic_settings", "flask", "werkzeug"):
    from dependency_injector import containers, providers

__all__ = ["containers", "providers"]
