"""The rate limiter: how much a project may send."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from agenttrace_core.ports.adapter import Adapter


class RateLimiter(Adapter, Protocol):
    """Token buckets by name."""

    @abstractmethod
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        """Take ``amount`` from bucket ``name``, which refills at ``per_second`` up to ``burst``.

        Returns 0.0 if granted, else the seconds after which it would be; nothing is taken then.
        An amount above ``burst`` is granted when the bucket is full, and leaves it in debt.
        """
