"""The catalog's changes, each to be run within one transaction that no other change runs beside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from uuid import UUID

from agenttrace_adapters.sql.rows import encode_row_numbers, encode_segments
from agenttrace_adapters.sql.statements import NOW, Many, Query, Steps
from agenttrace_core.errors import ConflictError, WatermarkConflictError
from agenttrace_core.model.segment import SegmentFile, StoredObject, Superseded
from agenttrace_core.ports.catalog import Advance

_TOMBSTONE_NS = 30 * 86_400 * 1_000_000_000
"""How long a dead file is remembered after its objects were deleted. Its records are below the
watermark, so that nobody writes it again; an abandoned one is remembered for ever."""


def register(file_id: UUID, objects: Sequence[StoredObject]) -> Steps[None]:
    """Make a file pending, or renew what a pending one will hold.

    Objects that were registered for it before may have been uploaded: they stay its own until it
    is live or condemned.

    Raises:
        ConflictError: the file is live or condemned, or one of the objects is condemned.
    """
    state = yield from _state(file_id)
    if state not in (None, "pending"):
        raise ConflictError(f"file {file_id} cannot be registered: it is {state}")
    yield from _refuse_condemned(objects)
    ((now_ns,),) = yield NOW
    yield Query(
        "INSERT INTO files (id, state, changed_ns) VALUES (?, 'pending', ?)"
        " ON CONFLICT (id) DO UPDATE SET changed_ns = excluded.changed_ns",
        str(file_id),
        now_ns,
    )
    yield from _add_objects(file_id, [(None, o) for o in objects])


def advance(queue_id: UUID, advances: Iterable[Advance]) -> Steps[None]:
    """Move watermarks, each from where it is expected to be.

    Raises:
        WatermarkConflictError: one is elsewhere, would go back, or belongs to another queue.
    """
    ((known,),) = yield Query("SELECT queue_id FROM catalog")
    if known not in (None, str(queue_id)):
        raise WatermarkConflictError(f"the catalog belongs to queue {known}, not to {queue_id}")
    if known is None:
        yield Query("UPDATE catalog SET queue_id = ?", str(queue_id))
    for step in advances:
        found = yield Query("SELECT next_offset FROM watermarks WHERE partition_number = ?", step.partition)
        at = found[0][0] if found else 0
        if at != step.expected or step.next < at:
            raise WatermarkConflictError(
                f"partition {step.partition}: the watermark is {at}; cannot move it from {step.expected} to {step.next}"
            )
        yield Query(
            "INSERT INTO watermarks VALUES (?, ?)"
            " ON CONFLICT (partition_number) DO UPDATE SET next_offset = excluded.next_offset",
            step.partition,
            step.next,
        )


def next_version() -> Steps[int]:
    """Count one more commit, and return its version."""
    ((version,),) = yield Query("UPDATE catalog SET version = version + 1 RETURNING version")
    return int(version)


def make_live(file: SegmentFile, version: int, now_ns: int) -> Steps[None]:
    """Turn a pending file live. Objects that were registered but are not the file's are condemned.

    Raises:
        ConflictError: it is not pending.
    """
    changed = yield Query(
        "UPDATE files SET state = 'live', changed_ns = ?, live_version = ?, kind = ?, level = ?, normaliser = ?,"
        " segments = ? WHERE id = ? AND state = 'pending' RETURNING id",
        now_ns, version, file.kind.value, file.level, file.normaliser, encode_segments(file.segments), str(file.id),
    )  # fmt: skip
    if not changed:
        state = yield from _state(file.id)
        raise ConflictError(f"file {file.id} cannot become live: it is {state or 'not registered'}")
    yield from _condemn_objects(file.id, now_ns, keep={o.key for o in file.objects.values()})
    yield from _add_objects(file.id, list(file.objects.items()))


def kill(file_ids: Iterable[UUID], since: int, version: int, now_ns: int) -> Steps[None]:
    """Turn live files dead and condemn their objects.

    Raises:
        ConflictError: one is not live, or rows of it were superseded after version ``since``.
    """
    for file_id in file_ids:
        changed = yield Query(
            "UPDATE files SET state = 'dead', changed_ns = ?, dead_version = ?, segments = NULL"
            " WHERE id = ? AND state = 'live' RETURNING id",
            now_ns, version, str(file_id),
        )  # fmt: skip
        if not changed:
            state = yield from _state(file_id)
            raise ConflictError(f"file {file_id} cannot be replaced: it is {state or 'not registered'}")
        ((newest,),) = yield Query("SELECT MAX(version) FROM superseded WHERE file_id = ?", str(file_id))
        if newest is not None and newest > since:
            raise ConflictError(f"file {file_id} cannot be replaced: rows of it were superseded after version {since}")
        yield Query("DELETE FROM superseded WHERE file_id = ?", str(file_id))
        yield from _condemn_objects(file_id, now_ns)


def supersede(superseded: Sequence[Superseded], version: int) -> Steps[None]:
    """Record rows that do not count any more.

    Raises:
        ConflictError: the file of one is not live.
    """
    for file_id in dict.fromkeys(s.file_id for s in superseded):
        state = yield from _state(file_id)
        if state != "live":
            raise ConflictError(f"rows of file {file_id} cannot be superseded: it is not live")
    yield Many(
        "INSERT INTO superseded (file_id, version, position, project, row_numbers, traces_ipc)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (str(s.file_id), version, position, s.project, encode_row_numbers(s.rows), bytes(s.traces_ipc))
            for position, s in enumerate(superseded)
        ],
    )


def remember_bodies(bodies: Sequence[bytes], keep: int) -> Steps[None]:
    """Append hashes of bodies, and forget commits that lie wholly beyond the newest ``keep``."""
    if not bodies:
        return
    ((last,),) = yield Query("SELECT COALESCE(MAX(last_number), 0) FROM bodies")
    last += len(bodies)
    yield Query("INSERT INTO bodies VALUES (?, ?)", last, b"".join(bodies))
    yield Query("DELETE FROM bodies WHERE last_number <= ?", last - keep)


def abandon(registered_before_ns: int, now_ns: int) -> Steps[None]:
    """Condemn what has been pending since before a time."""
    old = yield Query(
        "UPDATE files SET state = 'abandoned', changed_ns = ? WHERE state = 'pending' AND changed_ns <= ? RETURNING id",
        now_ns,
        registered_before_ns,
    )
    for (file_id,) in old:
        yield from _condemn_objects(UUID(file_id), now_ns)


def condemned(dead_before_ns: int) -> Steps[list[StoredObject]]:
    """Return objects condemned before a time that nothing names any more."""
    found = yield Query(
        "SELECT object_key, size, checksum FROM condemned_objects c WHERE dead_ns <= ?"
        " AND NOT EXISTS (SELECT 1 FROM file_objects f WHERE f.object_key = c.object_key)"
        " AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.object_key = c.object_key) ORDER BY object_key",
        dead_before_ns,
    )
    return [StoredObject(*row) for row in found]


def condemn(objects: Iterable[StoredObject], now_ns: int) -> Steps[None]:
    """Note objects that nothing needs any more."""
    yield Many(
        "INSERT INTO condemned_objects VALUES (?, ?, ?, ?)"
        " ON CONFLICT (object_key) DO UPDATE SET dead_ns = excluded.dead_ns",
        [(o.key, o.size, o.checksum, now_ns) for o in objects],
    )


def forget(keys: Iterable[str]) -> Steps[None]:
    """Drop condemned objects, and dead files that have been dead for a month."""
    yield Many("DELETE FROM condemned_objects WHERE object_key = ?", [(key,) for key in keys])
    ((now_ns,),) = yield NOW
    oldest = now_ns - _TOMBSTONE_NS
    ((clean,),) = yield Query("SELECT MAX(dead_version) FROM files WHERE state = 'dead' AND changed_ns <= ?", oldest)
    if clean is not None:
        yield Query("UPDATE catalog SET clean_version = ? WHERE clean_version < ?", clean, clean)
        yield Query("DELETE FROM files WHERE state = 'dead' AND changed_ns <= ?", oldest)


def _state(file_id: UUID) -> Steps[str | None]:
    found = yield Query("SELECT state FROM files WHERE id = ?", str(file_id))
    return str(found[0][0]) if found else None


def _refuse_condemned(objects: Sequence[StoredObject]) -> Steps[None]:
    # Whoever lists it may be about to delete it, also after it would have been stored anew.
    for o in objects:
        if (yield Query("SELECT 1 FROM condemned_objects WHERE object_key = ?", o.key)):
            raise ConflictError(f"object {o.key!r} cannot be registered: it is condemned")


def _condemn_objects(file_id: UUID, now_ns: int, keep: Set[str] = frozenset()) -> Steps[None]:
    named = yield Query("DELETE FROM file_objects WHERE file_id = ? RETURNING object_key, size, checksum", str(file_id))
    yield from condemn([StoredObject(*row) for row in named if row[0] not in keep], now_ns)


def _add_objects(file_id: UUID, objects: Sequence[tuple[str | None, StoredObject]]) -> Steps[None]:
    yield Many(
        "INSERT INTO file_objects (file_id, object_key, role, size, checksum) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (file_id, object_key)"
        " DO UPDATE SET role = excluded.role, size = excluded.size, checksum = excluded.checksum",
        [(str(file_id), o.key, role, o.size, o.checksum) for role, o in objects],
    )
