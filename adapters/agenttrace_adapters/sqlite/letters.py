"""Dead letters in SQL, each to be run within one transaction. A project keeps its newest ones only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from sqlite3 import Connection

from agenttrace_adapters.sqlite.changes import condemn
from agenttrace_adapters.sqlite.rows import decode_letter, encode_letter
from agenttrace_core.errors import NotFoundError
from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.catalog import DeadLetter

_NEVER_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LetterBounds:
    """How many letters a project keeps, and for how long since they were received."""

    number: int = 10_000
    age_s: float = 30 * 86_400.0


def add(db: Connection, letters: Sequence[DeadLetter], bounds: LetterBounds, now_ns: int) -> None:
    """Keep letters, and forget what the bounds leave no room for."""
    db.executemany(
        "INSERT INTO dead_letters (id, project, signal, received_ns, reason, spans, object_key, object_size,"
        " object_checksum, dropped) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
        " ON CONFLICT (id) DO NOTHING",
        [encode_letter(letter) for letter in letters],
    )
    for project in {letter.project for letter in letters}:
        _forget_surplus(db, project, bounds.number, now_ns)
    forget_old(db, bounds, now_ns)


def newest(
    db: Connection, project: str, limit: int, before: str | None, bounds: LetterBounds, now_ns: int
) -> list[DeadLetter]:
    """Return letters, newest first by (received, id). After an id that is long forgotten, there is nothing."""
    place = (_NEVER_NS, "")
    if before is not None:
        place = db.execute(
            "SELECT received_ns, id FROM dead_letters WHERE project = ? AND id = ?", (project, before)
        ).fetchone()
        if place is None:
            return []
    found = db.execute(
        "SELECT id, project, signal, received_ns, reason, spans, object_key, object_size, object_checksum"
        " FROM dead_letters WHERE project = ? AND dropped = 0 AND received_ns >= ?"
        " AND (received_ns < ? OR (received_ns = ? AND id < ?)) ORDER BY received_ns DESC, id DESC LIMIT ?",
        (project, _oldest(bounds, now_ns), place[0], *place, limit),
    )
    return [decode_letter(row) for row in found]


def one(db: Connection, project: str, letter_id: str, bounds: LetterBounds, now_ns: int) -> DeadLetter:
    """Return one letter.

    Raises:
        NotFoundError: the project has none by that id.
    """
    row = db.execute(
        "SELECT id, project, signal, received_ns, reason, spans, object_key, object_size, object_checksum"
        " FROM dead_letters WHERE project = ? AND id = ? AND dropped = 0 AND received_ns >= ?",
        (project, letter_id, _oldest(bounds, now_ns)),
    ).fetchone()
    if row is None:
        raise NotFoundError(f"project {project!r} has no dead letter {letter_id[:80]!r}")
    return decode_letter(row)


def drop(db: Connection, project: str, ids: Sequence[str], now_ns: int) -> None:
    """Take letters out of the list, and condemn their objects."""
    mine = [(project, letter_id) for letter_id in ids]
    objects = [
        StoredObject(*row)
        for key in mine
        for row in db.execute(
            "SELECT object_key, object_size, object_checksum FROM dead_letters"
            " WHERE project = ? AND id = ? AND object_key IS NOT NULL",
            key,
        )
    ]
    db.executemany("UPDATE dead_letters SET dropped = 1, object_key = NULL WHERE project = ? AND id = ?", mine)
    condemn(db, objects, now_ns)


def forget_old(db: Connection, bounds: LetterBounds, now_ns: int) -> None:
    """Forget all letters that are past their age, of every project."""
    found = db.execute("SELECT id FROM dead_letters WHERE received_ns < ?", (_oldest(bounds, now_ns),)).fetchall()
    _delete(db, [letter_id for (letter_id,) in found], now_ns)


def _forget_surplus(db: Connection, project: str, number: int, now_ns: int) -> None:
    found = db.execute(
        "SELECT id FROM dead_letters WHERE project = ? ORDER BY received_ns DESC, id DESC", (project,)
    ).fetchall()
    _delete(db, [letter_id for (letter_id,) in found[number:]], now_ns)


def _delete(db: Connection, ids: Iterable[str], now_ns: int) -> None:
    for letter_id in ids:
        row = db.execute(
            "DELETE FROM dead_letters WHERE id = ? RETURNING object_key, object_size, object_checksum", (letter_id,)
        ).fetchone()
        if row[0] is not None:
            condemn(db, [StoredObject(*row)], now_ns)


def _oldest(bounds: LetterBounds, now_ns: int) -> int:
    return now_ns - int(bounds.age_s * 1e9)
