"""The rate limiter: how much a project may send."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from agenttrace_core.ports.adapter import Adapter
from agenttrace_core.ports.sharing import SharingCapabilities


class RateLimiter(Adapter, Protocol):
    """Token buckets by name. A shared limiter may be opened while its backend is away; only ``take`` needs it."""

    @property
    @abstractmethod
    def capabilities(self) -> SharingCapabilities:
        """What this adapter does; constant."""

    @abstractmethod
    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        """Take ``amount`` from bucket ``name``, which refills at ``per_second`` up to ``burst``.

        Returns 0.0 if granted, else the seconds after which it would be; nothing is taken then.
        An amount above ``burst`` is granted when the bucket is full, and leaves it in debt. Infinity
        where ``per_second`` is 0 and not enough is left. An amount of 0 is granted unless the bucket is
        in debt. Takes of one name are done one after the other, whoever asks.

        Raises:
            UnavailableError: the backend does not answer, which is said within half a second: a sender waits
                for it. Perhaps the amount was taken.
        """
