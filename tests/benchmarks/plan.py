"""What a run of the programme was asked for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and times of all measures.

    ``rate`` is spans a second. ``library`` is the folder of the many spans that look-ups and start-up are
    measured on; it is loaded if it is empty, and kept if it was named. ``options`` are configuration
    keys of the server, beside which it runs on its defaults.
    """

    base: Path
    library: Path
    rate: float = 80_000.0
    senders: int = 1
    connections: int = 16
    ack_s: float = 30.0
    sustain_s: float = 60.0
    soak_s: float = 600.0
    search_s: float = 30.0
    probe_s: float = 10.0
    library_spans: int = 10_000_000
    library_days: float = 1.0
    lookups: int = 3_000
    asked: int = 20
    clients_s: float = 10.0
    big_trace_spans: int = 50_000
    backlog_bytes: int = 1_000_000_000
    kills: int = 5
    sdk_rounds: int = 5
    sdk_calls: int = 20_000
    sdk_steps: int = 100
    scaled_s: float = 45.0
    scaled_rate: float = 10_000.0
    scaled_starts: int = 20
    options: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """Give a data folder that is removed, with its server's log, at the end of the block.

        A folder whose measure failed is kept, for its log says why.
        """
        scratch = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.base))
        yield scratch / "data"
        shutil.rmtree(scratch, ignore_errors=True)


QUICK: dict[str, Any] = {
    "rate": 20_000.0, "ack_s": 4.0, "sustain_s": 8.0, "soak_s": 10.0, "search_s": 6.0, "probe_s": 2.0,
    "library_spans": 100_000, "lookups": 200, "asked": 5, "clients_s": 2.0, "big_trace_spans": 5_000,
    "backlog_bytes": 50_000_000, "kills": 1, "sdk_rounds": 1, "sdk_calls": 2_000, "sdk_steps": 5,
    "scaled_s": 8.0, "scaled_rate": 4_000.0, "scaled_starts": 3,
    "options": {"write.flush_bytes": "32MiB", "write.flush_age": "3s"},
}  # fmt: skip
"""What ``--quick`` changes: enough to see that every measure works, too little to quote.

Its loads would end before the first file is written, hence the smaller flushes."""
