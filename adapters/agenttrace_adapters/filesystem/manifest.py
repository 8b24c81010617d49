"""The live table's manifest: a small JSON file that says which chunks count."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from agenttrace_core.model.segment import OffsetRange, Superseded
from agenttrace_core.ports.live import LiveState
from agenttrace_core.schema.tables import CONTEXTS, FLIPS, LOGS

_FORMAT = 3

EXTRAS = {"logs": LOGS, "flips": FLIPS, "contexts": CONTEXTS}
"""The tables that a chunk has a file of only where they have rows."""


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """Where one chunk is. ``revision`` counts how often its traces were corrected; ``extras`` are those it has."""

    id: str
    ranges: tuple[OffsetRange, ...]
    rows_file: str
    revision: int
    extras: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files."""
        return (self.rows_file, self.traces_file, *(self.extra_file(name) for name in self.extras))

    def extra_file(self, name: str) -> str:
        """Return the name of the file that holds one of its extras."""
        return f"{self.rows_file.removesuffix('.rows.arrow')}.{name}.arrow"

    @property
    def traces_file(self) -> str:
        """The name of the file that holds its traces."""
        return f"{self.rows_file.removesuffix('.rows.arrow')}.traces-{self.revision}.arrow"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A live state without its tables, and where those are."""

    state: LiveState
    chunks: tuple[ChunkEntry, ...]

    @classmethod
    def of(cls, state: LiveState, chunks: Sequence[ChunkEntry]) -> Manifest:
        """Describe ``state``, whose chunks are at ``chunks``."""
        return cls(state, tuple(chunks))

    def encode(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(
            {
                "format": _FORMAT,
                "boot": _boot_id(),
                "epoch": self.state.epoch,
                "tail": list(self.state.tail.items()),
                "chunks": [asdict(chunk) for chunk in self.chunks],
                "dead": {chunk: list(rows) for chunk, rows in self.state.dead.items()},
                "superseded": [_encode_superseded(s) for s in self.state.superseded],
            },
            separators=(",", ":"),
        ).encode()

    @classmethod
    def decode(cls, body: bytes) -> Manifest | None:
        """Read what ``encode`` wrote; None if it was written by another release, or before a reboot."""
        document = json.loads(body)
        if document["format"] != _FORMAT or document["boot"] != _boot_id():
            return None
        state = LiveState(
            epoch=document["epoch"],
            tail=dict(document["tail"]),
            dead={chunk: tuple(rows) for chunk, rows in document["dead"].items()},
            superseded=tuple(_decode_superseded(s) for s in document["superseded"]),
        )
        return cls(state, tuple(_decode_chunk(chunk) for chunk in document["chunks"]))


def _decode_chunk(chunk: dict[str, Any]) -> ChunkEntry:
    ranges = tuple(OffsetRange(**r) for r in chunk["ranges"])
    return ChunkEntry(chunk["id"], ranges, chunk["rows_file"], chunk["revision"], tuple(chunk["extras"]))


def _encode_superseded(s: Superseded) -> dict[str, Any]:
    traces = base64.b64encode(s.traces_ipc).decode()
    return {"file_id": str(s.file_id), "project": s.project, "rows": s.rows, "traces_ipc": traces}


def _decode_superseded(s: dict[str, Any]) -> Superseded:
    return Superseded(UUID(s["file_id"]), s["project"], tuple(s["rows"]), base64.b64decode(s["traces_ipc"]))


@cache
def _boot_id() -> str:
    """Names this run of the kernel; see random(4). Empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
