"""The cache: bytes that are quicker to find than to make again, and that may be gone at any time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Protocol

from agenttrace_core.ports.adapter import Adapter
from agenttrace_core.ports.sharing import SharingCapabilities

MAX_VALUE_BYTES = 1 << 20
"""A longer value is not kept."""


class Cache(Adapter, Protocol):
    """Values by key, for a while.

    Nothing here is the only copy of anything, and nothing here fails: while the backend is away nothing is
    found and nothing kept, which is answered at once. It may be opened then, too. What is kept is bounded: the
    least useful goes first.
    """

    @property
    @abstractmethod
    def capabilities(self) -> SharingCapabilities:
        """What this adapter does; constant."""

    @abstractmethod
    async def get(self, keys: Iterable[str]) -> Mapping[str, bytes]:
        """Return those of ``keys`` that are found, in one round. A value is whole, as it was put last, or not there."""

    @abstractmethod
    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Keep ``value`` for at most ``ttl_s`` seconds, in the place of an earlier one.

        A value above ``MAX_VALUE_BYTES`` is not kept, nor is an earlier one then.
        """
