"""What the ports beside the way of a span have in common: limits, cache and events may be of one process, or shared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SharingCapabilities:
    """What an adapter of the limiter, the cache or the event bus can do.

    ``shared``: instances of one URL see each other's doing, in whatever process they are.
    """

    shared: bool
