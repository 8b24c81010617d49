"""How a catalog began, in SQL, each to be run within one transaction."""

from __future__ import annotations

from uuid import UUID

from agenttrace_adapters.sql.changes import next_version
from agenttrace_adapters.sql.statements import Query, Steps
from agenttrace_core.errors import ConflictError
from agenttrace_core.ports.catalog import Move


def read() -> Steps[Move | None]:
    """Return the one move, or None."""
    found = yield Query("SELECT source, finished, offset_base FROM moves")
    return Move(UUID(found[0][0]), bool(found[0][1]), found[0][2]) if found else None


def begin(source: UUID) -> Steps[None]:
    """Say what the catalog will begin with.

    Raises:
        ConflictError: it has begun with something else.
    """
    begun = yield from read()
    if begun == Move(source):
        return
    if begun is not None:
        state = "was completed" if begun.finished else "has begun"
        raise ConflictError(f"a move from the queue {begun.source} {state} before")
    ((version,),) = yield Query("SELECT version FROM catalog")
    if version:
        raise ConflictError("the catalog is not empty")
    yield Query("INSERT INTO moves (source, finished, offset_base) VALUES (?, 0, 0)", str(source))


def end(offset_base: int) -> Steps[None]:
    """Say that all is there.

    Raises:
        ConflictError: no move is under way.
    """
    ended = yield Query(
        "UPDATE moves SET finished = 1, offset_base = ? WHERE finished = 0 RETURNING source", offset_base
    )
    if not ended:
        raise ConflictError("no move into the catalog is under way")
    yield from next_version()
