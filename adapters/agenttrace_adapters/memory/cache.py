"""The cache of one process: a dictionary in the order of last use."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from agenttrace_adapters.memory.urls import FromMemoryUrl
from agenttrace_core.ports.cache import MAX_VALUE_BYTES, Cache
from agenttrace_core.ports.sharing import SharingCapabilities

_ENTRY_BYTES = 200
"""What an entry costs besides its key and value, roughly."""


class MemoryCache(FromMemoryUrl, Cache):
    """Keeps what this process alone finds again.

    Args:
        max_bytes: of keys and values; beyond it goes what was not used for longest.
        clock: returns seconds that never go back.
    """

    setting = "cache"

    def __init__(self, *, max_bytes: int = 64 << 20, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    @property
    def capabilities(self) -> SharingCapabilities:
        """This process alone."""
        return SharingCapabilities(shared=False)

    async def open(self) -> None:
        """Nothing to acquire."""

    async def aclose(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._bytes = 0

    async def get(self, keys: Iterable[str]) -> Mapping[str, bytes]:
        """Look up; see the port."""
        now_s = self._clock()
        found: dict[str, bytes] = {}
        for key in keys:
            value, until_s = self._kept.get(key, (b"", 0.0))
            if until_s > now_s:
                self._kept.move_to_end(key)
                found[key] = value
            else:
                self._drop(key)
        return found

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Keep; see the port."""
        self._drop(key)
        if len(value) > MAX_VALUE_BYTES:
            return
        self._kept[key] = (value, self._clock() + ttl_s)
        self._bytes += _size(key, value)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        if key in self._kept:
            value, _ = self._kept.pop(key)
            self._bytes -= _size(key, value)


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + _ENTRY_BYTES
