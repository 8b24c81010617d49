"""What a list of traces says of each."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class TraceState(StrEnum):
    """How far a trace has come."""

    RUNNING = "running"
    """A span of it has not ended; or its root has not come, and something came a short while ago."""
    COMPLETE = "complete"
    """Its root has ended, and so has everything below."""
    BROKEN = "broken"
    """Nothing of it runs, no root has come, and nothing came for as long as ``AsOf`` allows."""


@dataclass(frozen=True, slots=True)
class AsOf:
    """The moment that an answer is of, and the silence after which a trace without a root counts as broken."""

    now_ns: int
    broken_after_ns: int = 600 * 10**9

    def state(self, *, running: int, has_root: bool, received_ns: int) -> TraceState:
        """Judge a trace by its unended spans, whether a root of it came, and when its latest span came."""
        if running > 0:
            return TraceState.RUNNING
        if has_root:
            return TraceState.COMPLETE
        return TraceState.BROKEN if self.now_ns - received_ns > self.broken_after_ns else TraceState.RUNNING


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

    @property
    def cost_usd(self) -> Decimal | None:
        """What it cost in dollars; None if no span that counts has a known price, and one has tokens."""
        return None if self.unpriced and not self.cost_pico_usd else Decimal(self.cost_pico_usd).scaleb(-12)

    @property
    def status(self) -> str:
        """``error`` if a span of it has failed, else ``ok``."""
        return "error" if self.errors else "ok"

    def state(self, as_of: AsOf) -> TraceState:
        """Whether it was running, complete or broken at that moment."""
        return as_of.state(running=self.running, has_root=self.has_root, received_ns=self.received_ns)


@dataclass(frozen=True, slots=True, order=True)
class TracePosition:
    """A place in the list of traces, which is ordered newest first by start, then trace id."""

    start_ns: int
    trace_id: str
