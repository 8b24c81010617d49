"""What all ports share: a life cycle, and construction from a URL."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol, Self


class Adapter(Protocol):
    """Something that is chosen by URL, opened, used and closed."""

    @classmethod
    @abstractmethod
    def from_url(cls, url: str) -> Self:
        """Make one from its configuration URL, without I/O.

        Raises:
            ConfigurationError: the URL is not one of this adapter's; the message shows a right one.
        """

    @abstractmethod
    async def open(self) -> None:
        """Acquire what the adapter needs: files, locks, connections. Call once before use.

        Raises:
            UnavailableError: the backend does not answer.
            ConfigurationError: it answers, but cannot be used as configured.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Release everything. Idempotent, and safe if never opened."""
