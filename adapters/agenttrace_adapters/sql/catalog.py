"""The metadata store over any database: which statements make up each call of the port."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from agenttrace_adapters.sql import changes, leases, letters, moves
from agenttrace_adapters.sql.letters import LetterBounds
from agenttrace_adapters.sql.statements import NOW, Query, Steps
from agenttrace_core.model.segment import SegmentFile, StoredObject
from agenttrace_core.ports.catalog import Commit, DeadLetter, MetadataStore, Move

_HASH_BYTES = 16
_SECRET_BYTES = 32
_COMMITS = 10_000
"""How many of the newest commits are known by their id. Who is so late as to miss his finds the watermark moved on."""

T = TypeVar("T")


class SqlCatalog(MetadataStore):
    """Everything but the database: an adapter adds ``open``, ``aclose``, ``version``, ``snapshot`` and the two runners.

    Args:
        bodies: how many body hashes are kept at least.
        letter_bounds: of each project's dead letters.
    """

    def __init__(self, *, bodies: int = 200_000, letter_bounds: LetterBounds | None = None) -> None:
        self._bodies = bodies
        self._letters = letter_bounds or LetterBounds()
        self._secrets: dict[str, bytes] = {}

    @abstractmethod
    async def _change(self, steps: Steps[T]) -> T:
        """Run statements in one durable transaction that no other change runs beside."""

    @abstractmethod
    async def _read(self, steps: Steps[T]) -> T:
        """Run statements in one transaction that changes nothing and sees one moment."""

    async def register(self, file_id: UUID, objects: Sequence[StoredObject]) -> None:
        """Make a file pending; see the port. An object that is condemned is a conflict, too."""
        await self._change(changes.register(file_id, objects))

    async def commit(self, commit: Commit) -> int:
        """Commit a flush; see the port."""
        return await self._change(_commit(commit, self._bodies, self._letters))

    async def replace(self, old: Sequence[UUID], new: Sequence[SegmentFile], *, version: int) -> int:
        """Replace files; see the port."""
        return await self._change(_replace(old, new, version))

    async def condemned(self, *, grace_s: float) -> Sequence[StoredObject]:
        """Condemn and list; see the port. What is condemned now is listed after as long again."""
        return await self._change(_condemned(int(grace_s * 1e9), self._letters))

    async def forget(self, keys: Sequence[str]) -> None:
        """Drop deleted objects; see the port."""
        await self._change(changes.forget(keys))

    async def bodies(self, limit: int) -> Sequence[bytes]:
        """Return the newest body hashes, oldest first; see the port."""
        return await self._read(_read_bodies(limit))

    async def watermarks(self) -> tuple[UUID | None, Mapping[int, int]]:
        """Return the queue's id and all watermarks; see the port."""
        return await self._read(_read_watermarks())

    async def dead_letters(self, project: str, *, limit: int, before: str | None = None) -> Sequence[DeadLetter]:
        """Return a project's newest letters; see the port."""
        return await self._read(letters.newest(project, limit, before, self._letters))

    async def projects_with_letters(self) -> Sequence[str]:
        """Return who has letters; see the port."""
        return await self._read(letters.projects())

    async def dead_letter(self, project: str, letter_id: str) -> DeadLetter:
        """Return one letter; see the port."""
        return await self._read(letters.one(project, letter_id, self._letters))

    async def drop_dead_letters(self, project: str, ids: Sequence[str]) -> None:
        """Forget letters; see the port."""
        await self._change(letters.drop(project, ids))

    async def move(self) -> Move | None:
        """Return how the catalog began; see the port."""
        return await self._read(moves.read())

    async def begin_move(self, source: UUID) -> None:
        """Begin with what another deployment held; see the port."""
        await self._change(moves.begin(source))

    async def end_move(self, offset_base: int) -> None:
        """Say that all is there; see the port."""
        await self._change(moves.end(offset_base))

    async def secret(self, name: str) -> bytes:
        """Return a shared secret; see the port."""
        if name not in self._secrets:
            self._secrets[name] = await self._change(_read_or_make_secret(name))
        return self._secrets[name]

    async def lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        """Take or renew a lease; see the port."""
        return await self._change(leases.take(name, holder, int(ttl_s * 1e9)))

    async def release(self, name: str, holder: str) -> None:
        """Give up a lease; see the port."""
        await self._change(leases.release(name, holder))

    async def leases(self, prefix: str = "") -> Mapping[str, str]:
        """Return who holds what; see the port."""
        return await self._read(leases.held(prefix))


def _commit(commit: Commit, bodies: int, bounds: LetterBounds) -> Steps[int]:
    known = yield Query("SELECT version FROM commits WHERE id = ?", str(commit.id))
    if known:
        return int(known[0][0])
    ((now_ns,),) = yield NOW
    yield from changes.advance(commit.queue_id, commit.advances)
    version = yield from changes.next_version()
    for file in commit.files:
        yield from changes.make_live(file, version, now_ns)
    yield from changes.supersede(commit.superseded, version)
    yield from changes.remember_bodies(commit.bodies, bodies)
    if commit.dead_letters:
        yield from letters.add(commit.dead_letters, bounds, now_ns)
    yield Query("INSERT INTO commits VALUES (?, ?)", str(commit.id), version)
    yield Query("DELETE FROM commits WHERE version <= ?", version - _COMMITS)
    return version


def _replace(old: Sequence[UUID], new: Sequence[SegmentFile], since: int) -> Steps[int]:
    ((now_ns,),) = yield NOW
    version = yield from changes.next_version()
    yield from changes.kill(dict.fromkeys(old), since, version, now_ns)
    for file in new:
        yield from changes.make_live(file, version, now_ns)
    return version


def _condemned(grace_ns: int, bounds: LetterBounds) -> Steps[list[StoredObject]]:
    ((now_ns,),) = yield NOW
    yield from changes.abandon(now_ns - grace_ns, now_ns)
    yield from letters.forget_old(bounds, now_ns)
    return (yield from changes.condemned(now_ns - grace_ns))


def _read_bodies(limit: int) -> Steps[list[bytes]]:
    rows = yield Query(
        "SELECT hashes FROM bodies WHERE last_number > (SELECT MAX(last_number) FROM bodies) - ? ORDER BY last_number",
        limit,
    )
    whole = b"".join(hashes for (hashes,) in rows)
    found = [whole[at : at + _HASH_BYTES] for at in range(0, len(whole), _HASH_BYTES)]
    return found[max(0, len(found) - limit) :]


def _read_watermarks() -> Steps[tuple[UUID | None, Mapping[int, int]]]:
    ((queue_id,),) = yield Query("SELECT queue_id FROM catalog")
    found = yield Query("SELECT partition_number, next_offset FROM watermarks")
    return UUID(queue_id) if queue_id else None, dict(found)


def _read_or_make_secret(name: str) -> Steps[bytes]:
    made = secrets.token_bytes(_SECRET_BYTES)
    yield Query("INSERT INTO secrets VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, made)
    ((value,),) = yield Query("SELECT value FROM secrets WHERE name = ?", name)
    return bytes(value)
