"""Dead letters in SQL, each to be run within one transaction. A project keeps its newest ones only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenttrace_adapters.sql.changes import condemn
from agenttrace_adapters.sql.rows import decode_letter, encode_letter
from agenttrace_adapters.sql.statements import NOW, Many, Query, Rows, Steps
from agenttrace_core.errors import NotFoundError
from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.catalog import DeadLetter

_NEVER_NS = 2**63 - 1
_AT_ONCE = 100_000
"""The most surplus letters that one commit forgets; the next goes on."""


@dataclass(frozen=True, slots=True)
class LetterBounds:
    """How many letters a project keeps, and for how long since they were received."""

    number: int = 10_000
    age_s: float = 30 * 86_400.0

    def oldest_ns(self, now_ns: int) -> int:
        """Return when the oldest letter that is still kept was received."""
        return now_ns - int(self.age_s * 1e9)


def add(letters: Sequence[DeadLetter], bounds: LetterBounds, now_ns: int) -> Steps[None]:
    """Keep letters, and forget what the bounds leave no room for."""
    yield Many(
        "INSERT INTO dead_letters (id, project, signal, received_ns, reason, spans, object_key, object_size,"
        " object_checksum, dropped) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
        " ON CONFLICT (id) DO NOTHING",
        [encode_letter(letter) for letter in letters],
    )
    for project in sorted({letter.project for letter in letters}):
        surplus = yield Query(
            "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters WHERE project = ?"
            " ORDER BY received_ns DESC, id DESC LIMIT ? OFFSET ?) RETURNING object_key, object_size, object_checksum",
            project, _AT_ONCE, bounds.number,
        )  # fmt: skip
        yield from _condemn_bytes(surplus, now_ns)
    yield from forget_old(bounds, now_ns)


def newest(project: str, limit: int, before: str | None, bounds: LetterBounds) -> Steps[list[DeadLetter]]:
    """Return letters, newest first by (received, id). After an id that is long forgotten, there is nothing."""
    ((now_ns,),) = yield NOW
    at_ns, at_id = _NEVER_NS, ""
    if before is not None:
        place = yield Query("SELECT received_ns, id FROM dead_letters WHERE project = ? AND id = ?", project, before)
        if not place:
            return []
        at_ns, at_id = place[0]
    found = yield Query(
        "SELECT id, project, signal, received_ns, reason, spans, object_key, object_size, object_checksum"
        " FROM dead_letters WHERE project = ? AND dropped = 0 AND received_ns >= ?"
        " AND (received_ns < ? OR (received_ns = ? AND id < ?)) ORDER BY received_ns DESC, id DESC LIMIT ?",
        project, bounds.oldest_ns(now_ns), at_ns, at_ns, at_id, limit,
    )  # fmt: skip
    return [decode_letter(row) for row in found]


def projects() -> Steps[list[str]]:
    """Return who has letters, if they have not all expired since the last commit."""
    found = yield Query("SELECT DISTINCT project FROM dead_letters WHERE dropped = 0 ORDER BY project")
    return [project for (project,) in found]


def one(project: str, letter_id: str, bounds: LetterBounds) -> Steps[DeadLetter]:
    """Return one letter.

    Raises:
        NotFoundError: the project has none by that id.
    """
    ((now_ns,),) = yield NOW
    found = yield Query(
        "SELECT id, project, signal, received_ns, reason, spans, object_key, object_size, object_checksum"
        " FROM dead_letters WHERE project = ? AND id = ? AND dropped = 0 AND received_ns >= ?",
        project, letter_id, bounds.oldest_ns(now_ns),
    )  # fmt: skip
    if not found:
        raise NotFoundError(f"project {project!r} has no dead letter {letter_id[:80]!r}")
    return decode_letter(found[0])


def drop(project: str, ids: Sequence[str]) -> Steps[None]:
    """Take letters out of the list, and condemn their objects."""
    ((now_ns,),) = yield NOW
    for letter_id in ids:
        kept = yield Query(
            "SELECT object_key, object_size, object_checksum FROM dead_letters WHERE project = ? AND id = ?",
            project, letter_id,
        )  # fmt: skip
        yield from _condemn_bytes(kept, now_ns)
    yield Many(
        "UPDATE dead_letters SET dropped = 1, object_key = NULL WHERE project = ? AND id = ?",
        [(project, letter_id) for letter_id in ids],
    )


def forget_old(bounds: LetterBounds, now_ns: int) -> Steps[None]:
    """Forget all letters that are past their age, of every project."""
    old = yield Query(
        "DELETE FROM dead_letters WHERE received_ns < ? RETURNING object_key, object_size, object_checksum",
        bounds.oldest_ns(now_ns),
    )
    yield from _condemn_bytes(old, now_ns)


def _condemn_bytes(rows: Rows, now_ns: int) -> Steps[None]:
    yield from condemn([StoredObject(*row) for row in rows if row[0] is not None], now_ns)
