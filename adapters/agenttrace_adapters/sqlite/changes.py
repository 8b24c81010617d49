"""The catalog's changes, each to be run within one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from sqlite3 import Connection
from uuid import UUID

from agenttrace_adapters.sqlite.rows import encode_row_numbers, encode_segments
from agenttrace_core.errors import ConflictError, WatermarkConflictError
from agenttrace_core.model.segment import SegmentFile, StoredObject, Superseded
from agenttrace_core.ports.catalog import Advance

_TOMBSTONE_NS = 30 * 86_400 * 1_000_000_000
"""How long a dead file is remembered after its objects were deleted. Its records are below the
watermark, so that nobody writes it again; an abandoned one is remembered for ever."""


def register(db: Connection, file_id: UUID, objects: Sequence[StoredObject], now_ns: int) -> None:
    """Make a file pending, or renew what a pending one will hold.

    Objects that were registered for it before may have been uploaded: they stay its own until it
    is live or condemned.

    Raises:
        ConflictError: the file is live or condemned, or one of the objects is condemned.
    """
    state = _state(db, file_id)
    if state not in (None, "pending"):
        raise ConflictError(f"file {file_id} cannot be registered: it is {state}")
    _refuse_condemned(db, objects)
    db.execute(
        "INSERT INTO files (id, state, changed_ns) VALUES (?, 'pending', ?)"
        " ON CONFLICT (id) DO UPDATE SET changed_ns = excluded.changed_ns",
        (str(file_id), now_ns),
    )
    _add_objects(db, file_id, [(None, o) for o in objects])


def advance(db: Connection, queue_id: UUID, advances: Iterable[Advance]) -> None:
    """Move watermarks, each from where it is expected to be.

    Raises:
        WatermarkConflictError: one is elsewhere, would go back, or belongs to another queue.
    """
    (known,) = db.execute("SELECT queue_id FROM catalog").fetchone()
    if known not in (None, str(queue_id)):
        raise WatermarkConflictError(f"the catalog belongs to queue {known}, not to {queue_id}")
    db.execute("UPDATE catalog SET queue_id = ?", (str(queue_id),))
    for step in advances:
        found = db.execute(
            "SELECT next_offset FROM watermarks WHERE partition_number = ?", (step.partition,)
        ).fetchone()
        at = found[0] if found else 0
        if at != step.expected or step.next < at:
            raise WatermarkConflictError(
                f"partition {step.partition}: the watermark is {at}; cannot move it from {step.expected} to {step.next}"
            )
        db.execute(
            "INSERT INTO watermarks VALUES (?, ?)"
            " ON CONFLICT (partition_number) DO UPDATE SET next_offset = excluded.next_offset",
            (step.partition, step.next),
        )


def next_version(db: Connection) -> int:
    """Count one more commit, and return its version."""
    db.execute("UPDATE catalog SET version = version + 1")
    (version,) = db.execute("SELECT version FROM catalog").fetchone()
    return int(version)


def make_live(db: Connection, file: SegmentFile, version: int, now_ns: int) -> None:
    """Turn a pending file live. Objects that were registered but are not the file's are condemned.

    Raises:
        ConflictError: it is not pending.
    """
    changed = db.execute(
        "UPDATE files SET state = 'live', changed_ns = ?, live_version = ?, kind = ?, level = ?, normaliser = ?,"
        " segments = ? WHERE id = ? AND state = 'pending'",
        (now_ns, version, file.kind.value, file.level, file.normaliser, encode_segments(file.segments), str(file.id)),
    ).rowcount
    if not changed:
        raise ConflictError(f"file {file.id} cannot become live: it is {_state(db, file.id) or 'not registered'}")
    _condemn_objects(db, file.id, now_ns, keep={o.key for o in file.objects.values()})
    _add_objects(db, file.id, list(file.objects.items()))


def kill(db: Connection, file_ids: Iterable[UUID], since: int, version: int, now_ns: int) -> None:
    """Turn live files dead and condemn their objects.

    Raises:
        ConflictError: one is not live, or rows of it were superseded after version ``since``.
    """
    for file_id in file_ids:
        changed = db.execute(
            "UPDATE files SET state = 'dead', changed_ns = ?, dead_version = ?, segments = NULL"
            " WHERE id = ? AND state = 'live'",
            (now_ns, version, str(file_id)),
        ).rowcount
        if not changed:
            raise ConflictError(f"file {file_id} cannot be replaced: it is {_state(db, file_id) or 'not registered'}")
        (newest,) = db.execute("SELECT MAX(version) FROM superseded WHERE file_id = ?", (str(file_id),)).fetchone()
        if newest is not None and newest > since:
            raise ConflictError(f"file {file_id} cannot be replaced: rows of it were superseded after version {since}")
        db.execute("DELETE FROM superseded WHERE file_id = ?", (str(file_id),))
        _condemn_objects(db, file_id, now_ns)


def supersede(db: Connection, superseded: Sequence[Superseded], version: int) -> None:
    """Record rows that do not count any more.

    Raises:
        ConflictError: the file of one is not live.
    """
    for position, s in enumerate(superseded):
        if _state(db, s.file_id) != "live":
            raise ConflictError(f"rows of file {s.file_id} cannot be superseded: it is not live")
        db.execute(
            "INSERT INTO superseded (file_id, version, position, project, row_numbers, traces_ipc)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (str(s.file_id), version, position, s.project, encode_row_numbers(s.rows), bytes(s.traces_ipc)),
        )


def remember_bodies(db: Connection, bodies: Sequence[bytes], keep: int) -> None:
    """Append hashes of bodies, and forget commits that lie wholly beyond the newest ``keep``."""
    if not bodies:
        return
    (last,) = db.execute("SELECT COALESCE(MAX(last_number), 0) FROM bodies").fetchone()
    last += len(bodies)
    db.execute("INSERT INTO bodies VALUES (?, ?)", (last, b"".join(bodies)))
    db.execute("DELETE FROM bodies WHERE last_number <= ?", (last - keep,))


def abandon(db: Connection, registered_before_ns: int, now_ns: int) -> None:
    """Condemn what has been pending since before a time."""
    old = db.execute(
        "SELECT id FROM files WHERE state = 'pending' AND changed_ns <= ?", (registered_before_ns,)
    ).fetchall()
    for (file_id,) in old:
        db.execute("UPDATE files SET state = 'abandoned', changed_ns = ? WHERE id = ?", (now_ns, file_id))
        _condemn_objects(db, UUID(file_id), now_ns)


def condemned(db: Connection, dead_before_ns: int) -> list[StoredObject]:
    """Return objects condemned before a time that nothing names any more."""
    found = db.execute(
        "SELECT object_key, size, checksum FROM condemned_objects c WHERE dead_ns <= ?"
        " AND NOT EXISTS (SELECT 1 FROM file_objects f WHERE f.object_key = c.object_key)"
        " AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.object_key = c.object_key) ORDER BY object_key",
        (dead_before_ns,),
    )
    return [StoredObject(*row) for row in found]


def condemn(db: Connection, objects: Iterable[StoredObject], now_ns: int) -> None:
    """Note objects that nothing needs any more."""
    db.executemany(
        "INSERT INTO condemned_objects VALUES (?, ?, ?, ?)"
        " ON CONFLICT (object_key) DO UPDATE SET dead_ns = excluded.dead_ns",
        [(o.key, o.size, o.checksum, now_ns) for o in objects],
    )


def forget(db: Connection, keys: Iterable[str], now_ns: int) -> None:
    """Drop condemned objects, and dead files that have been dead for a month."""
    db.executemany("DELETE FROM condemned_objects WHERE object_key = ?", [(key,) for key in keys])
    oldest = now_ns - _TOMBSTONE_NS
    (clean,) = db.execute(
        "SELECT MAX(dead_version) FROM files WHERE state = 'dead' AND changed_ns <= ?", (oldest,)
    ).fetchone()
    if clean is not None:
        db.execute("UPDATE catalog SET clean_version = ? WHERE clean_version < ?", (clean, clean))
        db.execute("DELETE FROM files WHERE state = 'dead' AND changed_ns <= ?", (oldest,))


def _state(db: Connection, file_id: UUID) -> str | None:
    found = db.execute("SELECT state FROM files WHERE id = ?", (str(file_id),)).fetchone()
    return str(found[0]) if found else None


def _refuse_condemned(db: Connection, objects: Iterable[StoredObject]) -> None:
    for o in objects:
        # Whoever lists it may be about to delete it, also after it would have been stored anew.
        if db.execute("SELECT 1 FROM condemned_objects WHERE object_key = ?", (o.key,)).fetchone():
            raise ConflictError(f"object {o.key!r} cannot be registered: it is condemned")


def _condemn_objects(db: Connection, file_id: UUID, now_ns: int, keep: Set[str] = frozenset()) -> None:
    named = db.execute(
        "SELECT object_key, size, checksum FROM file_objects WHERE file_id = ?", (str(file_id),)
    ).fetchall()
    condemn(db, [StoredObject(*row) for row in named if row[0] not in keep], now_ns)
    db.execute("DELETE FROM file_objects WHERE file_id = ?", (str(file_id),))


def _add_objects(db: Connection, file_id: UUID, objects: Sequence[tuple[str | None, StoredObject]]) -> None:
    db.executemany(
        "INSERT INTO file_objects (file_id, object_key, role, size, checksum) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (file_id, object_key)"
        " DO UPDATE SET role = excluded.role, size = excluded.size, checksum = excluded.checksum",
        [(str(file_id), o.key, role, o.size, o.checksum) for role, o in objects],
    )
