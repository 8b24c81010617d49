"""What a service tells about itself while it works; the entrypoints turn it into Prometheus metrics."""

from __future__ import annotations

from typing import Protocol


class Meter(Protocol):
    """Counts and observes under a name that ends in its unit (``spans_total``, ``flush_seconds``)."""

    def count(self, name: str, amount: float = 1.0) -> None:
        """Add ``amount`` to a counter."""
        ...

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge."""
        ...

    def observe(self, name: str, value: float) -> None:
        """Add an observation to a histogram or summary."""
        ...


class NoMeter:
    """Tells nobody."""

    def count(self, name: str, amount: float = 1.0) -> None:
        """Do nothing."""

    def gauge(self, name: str, value: float) -> None:
        """Do nothing."""

    def observe(self, name: str, value: float) -> None:
        """Do nothing."""
