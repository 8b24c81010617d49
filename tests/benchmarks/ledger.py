"""What a data folder holds, read beside the running server: files, bytes, and what waits for the writer."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agenttrace_adapters.locallog.published import PublishedEnd

FILES = "SELECT id, segments FROM files WHERE state = 'live' AND kind = 'spans'"
OBJECTS = (
    "SELECT role, SUM(size) FROM file_objects WHERE file_id IN "
    "(SELECT id FROM files WHERE state = 'live' AND kind = 'spans') GROUP BY role"
)
WATERMARKS = "SELECT partition_number, next_offset FROM watermarks"
_KEYS = (
    "SELECT object_key FROM file_objects WHERE role = ? AND file_id IN "
    "(SELECT id FROM files WHERE state = 'live' AND kind = 'spans') ORDER BY object_key"
)
_ROWS = 3  # place of ``rows`` in a segment's array; see model.segment.Segment


@dataclass(frozen=True, slots=True)
class Ledger:
    """A server at one moment.

    ``rows`` are spans in live files, of which there are ``files``; ``object_bytes`` are their sizes by
    role (light, payload, traces). ``backlog_bytes`` are durable in the log and not yet in files;
    ``log_bytes`` is what the log takes on disk; ``log_end`` is all that was ever appended.
    A queue that does not count bytes counts records there.
    """

    files: int = 0
    rows: int = 0
    object_bytes: dict[str, int] = field(default_factory=dict)
    backlog_bytes: int = 0
    log_bytes: int = 0
    log_end: int = 0


def read(folder: Path) -> Ledger:
    """Read a data folder; a folder that nothing was written to yet is an empty ledger."""
    catalog = folder / "catalog.sqlite"
    if not catalog.exists():
        return Ledger()
    with contextlib.closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True, timeout=10.0)) as db:
        segments = db.execute(FILES).fetchall()
        sizes = dict(db.execute(OBJECTS))
        watermarks = dict(db.execute(WATERMARKS))
    log_bytes = sum(path.stat().st_size for path in (folder / "log").glob("*/*.log"))
    return ledger_of(segments, sizes, watermarks, _ends(folder / "log"), log_bytes)


def ledger_of(
    files: Sequence[tuple[str, str]],
    object_bytes: Mapping[str, int],
    watermarks: Mapping[int, int],
    ends: Mapping[int, int],
    log_bytes: int = 0,
) -> Ledger:
    """Make a ledger of what a catalog says, and of the ends of the queue by partition."""
    return Ledger(
        files=len(files),
        rows=sum(segment[_ROWS] for _, text in files for segment in json.loads(text)),
        object_bytes=dict(object_bytes),
        backlog_bytes=sum(end - watermarks.get(partition, 0) for partition, end in ends.items()),
        log_bytes=log_bytes,
        log_end=sum(ends.values()),
    )


def objects(folder: Path, role: str) -> list[Path]:
    """Return where the live files' objects of a role are."""
    with contextlib.closing(sqlite3.connect(f"file:{folder / 'catalog.sqlite'}?mode=ro", uri=True, timeout=10.0)) as db:
        return [folder / "objects" / key for (key,) in db.execute(_KEYS, [role])]


def _ends(log: Path) -> dict[int, int]:
    ends: dict[int, int] = {}
    for path in log.glob("*/end"):
        published = PublishedEnd.open(path, writable=False)
        try:
            durable = published.load()
        finally:
            published.close()
        if durable is not None:
            ends[int(path.parent.name)] = durable.end
    return ends
