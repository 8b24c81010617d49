"""What a list of traces says of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """Exact sums over the spans of a trace, each counted once.

    Times are nanoseconds since the epoch. ``name`` and ``service`` are the root's, or where no
    root has come (``has_root`` false), the earliest span's. Tokens and cost (1e-12 US dollars) are sums over
    the spans that count; ``unpriced`` is how many of those have tokens and no cost. ``running`` spans have not
    ended. ``received_ns`` is when the latest span came.
    """

    trace_id: str
    name: str
    service: str | None
    start_ns: int
    end_ns: int
    spans: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_pico_usd: int
    unpriced: int
    running: int
    received_ns: int
    has_root: bool
    session_id: str | None
    user_id: str | None

    @property
    def duration_ns(self) -> int:
        """From the first start to the last end."""
        return self.end_ns - self.start_ns


@dataclass(frozen=True, slots=True, order=True)
class TracePosition:
    """A place in the list of traces, which is ordered newest first by start, then trace id."""

    start_ns: int
    trace_id: str
