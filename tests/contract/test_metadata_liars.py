"""A lying catalog is caught: each of these breaks one promise, and the contract must fail on it."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest

from agenttrace_adapters.sqlite import SqliteCatalog
from agenttrace_adapters.sqlite.database import transaction
from agenttrace_contracts.base import Make, opened, run_machine
from agenttrace_contracts.metadata import MetadataContract
from agenttrace_contracts.metadata_machine import MetadataMachine
from agenttrace_core.errors import AgentTraceError, ConflictError, WatermarkConflictError
from agenttrace_core.model.segment import SegmentFile, Snapshot, StoredObject
from agenttrace_core.ports.catalog import Advance, Commit, DeadLetter, MetadataStore

_WHILE_OTHERS_LOOK_S = 0.5


class Liar(SqliteCatalog):
    """An honest catalog, with a back door to its tables."""

    async def do(self, statement: str, *values: object) -> None:
        """Change a table behind the port's back."""
        lane = self._writer
        assert lane is not None

        def run(db: Any) -> None:
            with transaction(db):
                db.execute(statement, values)

        await lane.run(run)


class CommitsALostCompareAndSet(Liar):
    """Moves a watermark from wherever it is."""

    async def commit(self, commit: Commit) -> int:
        _, at = await self.watermarks()
        moved = [
            Advance(a.partition, at.get(a.partition, 0), max(a.next, at.get(a.partition, 0))) for a in commit.advances
        ]
        return await super().commit(replace(commit, advances=moved))


class ReadsThenWrites(Liar):
    """Compares in one transaction and sets in the next."""

    async def commit(self, commit: Commit) -> int:
        _, at = await self.watermarks()
        if any(at.get(a.partition, 0) != a.expected for a in commit.advances):
            raise WatermarkConflictError("lost")
        await anyio.sleep(_WHILE_OTHERS_LOOK_S)
        _, at = await self.watermarks()
        moved = [
            Advance(a.partition, at.get(a.partition, 0), max(a.next, at.get(a.partition, 0))) for a in commit.advances
        ]
        return await super().commit(replace(commit, advances=moved))


class KeepsHalfACommit(Liar):
    """Makes files live before it looks at the watermark."""

    async def commit(self, commit: Commit) -> int:
        known, _ = await self.watermarks()
        await super().commit(replace(commit, queue_id=known or commit.queue_id, advances=[]))
        rest = replace(commit, id=uuid4(), files=[], superseded=[], bodies=[], dead_letters=[])
        return await super().commit(rest)


class KnowsNoCommitAgain(Liar):
    """Takes a commit that is sent again for another."""

    async def commit(self, commit: Commit) -> int:
        return await super().commit(replace(commit, id=uuid4()))


class TakesFailedForDone(Liar):
    """Remembers a commit's id before it went through."""

    async def commit(self, commit: Commit) -> int:
        try:
            return await super().commit(commit)
        except ConflictError:
            await self.do("INSERT INTO commits VALUES (?, 0)", str(commit.id))
            raise


class TakesAnyQueue(Liar):
    """Does not ask whose offsets they are."""

    async def commit(self, commit: Commit) -> int:
        known, _ = await self.watermarks()
        return await super().commit(replace(commit, queue_id=known or commit.queue_id))


class RevivesTheCondemned(Liar):
    """Lets a writer that comes back register what was condemned."""

    async def register(self, file_id: UUID, objects: Sequence[StoredObject]) -> None:
        await self.do("UPDATE files SET state = 'pending' WHERE id = ? AND state = 'abandoned'", str(file_id))
        await self.do("DELETE FROM condemned_objects WHERE object_key IN (?, ?, ?)", *(o.key for o in objects))
        await super().register(file_id, objects)


class CommitsTheUnregistered(Liar):
    """Makes live what nobody has announced."""

    async def commit(self, commit: Commit) -> int:
        for file in commit.files:
            try:
                await self.register(file.id, list(file.objects.values()))
            except ConflictError:
                continue
        return await super().commit(commit)


class KnowsNoGrace(Liar):
    """Condemns an upload that is under way."""

    async def condemned(self, *, grace_s: float) -> Sequence[StoredObject]:
        return await super().condemned(grace_s=0)


class ForgetsTheCondemnedAtOnce(Liar):
    """Lists an object once, whether or not it will be deleted."""

    async def condemned(self, *, grace_s: float) -> Sequence[StoredObject]:
        found = await super().condemned(grace_s=grace_s)
        await self.forget([o.key for o in found])
        return found


class ListsWhatIsShared(Liar):
    """Condemns the objects of a dead file, whoever else names them."""

    async def condemned(self, *, grace_s: float) -> Sequence[StoredObject]:
        await self.do("DELETE FROM file_objects WHERE object_key IN (SELECT object_key FROM condemned_objects)")
        return await super().condemned(grace_s=grace_s)


class MergesBlindly(Liar):
    """Does not ask what was superseded since."""

    async def replace(self, old: Sequence[UUID], new: Sequence[SegmentFile], *, version: int) -> int:
        return await super().replace(old, new, version=2**40)


class KeepsSupersededOfTheDead(Liar):
    """Supersedes rows of whatever file."""

    async def commit(self, commit: Commit) -> int:
        live = {file.id for file in (await self.snapshot()).files} | {file.id for file in commit.files}
        return await super().commit(replace(commit, superseded=[s for s in commit.superseded if s.file_id in live]))


class AnswersFromMemory(Liar):
    """Reads the catalog once."""

    async def snapshot(self) -> Snapshot:
        self._first = getattr(self, "_first", None) or await super().snapshot()
        return self._first


class HidesMerges(Liar):
    """Gives a merge the version of the commit before it, so that pollers miss it."""

    async def replace(self, old: Sequence[UUID], new: Sequence[SegmentFile], *, version: int) -> int:
        made = await super().replace(old, new, version=version)
        await self.do("UPDATE catalog SET version = version - 1")
        return made - 1


class TurnsBodiesAround(Liar):
    """Returns the newest first."""

    async def bodies(self, limit: int) -> Sequence[bytes]:
        return list(await super().bodies(limit))[::-1]


class ShowsLettersOfOthers(Liar):
    """Looks for a letter by its id alone."""

    async def dead_letter(self, project: str, letter_id: str) -> DeadLetter:
        for owner in ("p0", "p1"):
            try:
                return await super().dead_letter(owner, letter_id)
            except AgentTraceError:
                continue
        return await super().dead_letter(project, letter_id)


class LosesItsPlace(Liar):
    """Begins again where the letter that it should go on after was dropped."""

    async def drop_dead_letters(self, project: str, ids: Sequence[str]) -> None:
        await super().drop_dead_letters(project, ids)
        await self.do("DELETE FROM dead_letters WHERE dropped = 1")


class MovesIntoWhatIsThere(Liar):
    """Lets a move begin in a catalog that is in use."""

    async def begin_move(self, source: UUID) -> None:
        await self.do("INSERT INTO moves VALUES (?, 0, 0)", str(source))


class ForgetsWhatWasMoved(Liar):
    """Does not tell readers which rows came from elsewhere."""

    async def snapshot(self) -> Snapshot:
        return replace(await super().snapshot(), offset_base=0)


class MakesSecretsAnew(Liar):
    """Has a secret a call."""

    async def secret(self, name: str) -> bytes:
        return os.urandom(32)


class CommitsInMemory(Liar):
    """Acknowledges what is gone when the process is."""

    async def watermarks(self) -> tuple[UUID | None, Mapping[int, int]]:
        known, at = await super().watermarks()
        return known, (at if getattr(self, "_mine", False) else {})

    async def commit(self, commit: Commit) -> int:
        self._mine = True
        return await super().commit(commit)


class LeasesToAll(Liar):
    """Leases one thing to whoever asks."""

    async def lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        await super().lease(name, holder, ttl_s=ttl_s)
        return True


class LooksThenLeases(Liar):
    """Sees that nobody has it in one transaction, and takes it in the next."""

    async def lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        if (await self.leases()).get(name, holder) != holder:
            return False
        await anyio.sleep(_WHILE_OTHERS_LOOK_S)
        until_ns = time.time_ns() + int(ttl_s * 1e9)
        await self.do("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", name, holder, until_ns)
        return True


class LeasesForEver(Liar):
    """Waits for a holder that is gone."""

    async def lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        return await super().lease(name, holder, ttl_s=10 * ttl_s)


class LeasesOnce(Liar):
    """Refuses the holder itself."""

    async def lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        return name not in await self.leases() and await super().lease(name, holder, ttl_s=ttl_s)


class KeepsTheFurthestEnd(Liar):
    """Does not let a holder shorten its lease."""

    async def lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        longest = getattr(self, "_longest", 0.0)
        self._longest = max(longest, ttl_s)
        return await super().lease(name, holder, ttl_s=self._longest)


class ReleasesForAnybody(Liar):
    """Does not ask whose lease it is."""

    async def release(self, name: str, holder: str) -> None:
        await self.do("DELETE FROM leases WHERE name = ?", name)


class MatchesPatterns(Liar):
    """Takes the beginning of a name for a pattern."""

    async def leases(self, prefix: str = "") -> Mapping[str, str]:
        pattern = f"{prefix}*".replace("_", "?").replace("%", "*")
        return {name: holder for name, holder in (await super().leases()).items() if fnmatchcase(name, pattern)}


class CountsRenewals(Liar):
    """Has every renewal make a version."""

    async def lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        await self.do("UPDATE catalog SET version = version + 1")
        return await super().lease(name, holder, ttl_s=ttl_s)


class LeasesToEachProcess(Liar):
    """Keeps leases where other processes do not look."""

    async def lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        return await super().lease(f"{id(self)}/{name}", holder, ttl_s=ttl_s)

    async def leases(self, prefix: str = "") -> Mapping[str, str]:
        mine = f"{id(self)}/"
        return {name.removeprefix(mine): holder for name, holder in (await super().leases(mine + prefix)).items()}


_LIARS: dict[type[Liar], str] = {
    CommitsALostCompareAndSet: "test_a_lost_compare_and_set_changes_nothing",
    ReadsThenWrites: "test_of_racing_commits_one_wins",
    KeepsHalfACommit: "test_a_lost_compare_and_set_changes_nothing",
    KnowsNoCommitAgain: "test_a_commit_that_is_sent_again_counts_once",
    TakesFailedForDone: "test_a_commit_that_failed_may_be_sent_again",
    TakesAnyQueue: "test_another_queue_is_refused",
    RevivesTheCondemned: "test_condemned_files_never_live",
    CommitsTheUnregistered: "test_only_pending_files_become_live",
    KnowsNoGrace: "test_the_young_are_not_condemned",
    ForgetsTheCondemnedAtOnce: "test_the_condemned_are_listed_until_forgotten",
    ListsWhatIsShared: "test_what_a_live_file_names_is_not_listed",
    MergesBlindly: "test_a_merge_that_missed_a_superseded_row_is_refused",
    KeepsSupersededOfTheDead: "test_superseded_rows_need_a_live_file",
    AnswersFromMemory: "test_instances_share_what_is_declared_shared",
    HidesMerges: "test_every_commit_has_a_greater_version",
    TurnsBodiesAround: "test_bodies_are_remembered_in_order",
    ShowsLettersOfOthers: "test_dead_letters_are_the_projects_own",
    LosesItsPlace: "test_dead_letters_in_pages",
    MovesIntoWhatIsThere: "test_a_move_is_refused_by_a_catalog_in_use",
    ForgetsWhatWasMoved: "test_a_move_begins_in_an_empty_catalog_and_ends_once",
    MakesSecretsAnew: "test_secrets_are_made_once",
    CommitsInMemory: "test_what_was_committed_outlives_the_instance",
    LeasesToAll: "test_a_lease_has_one_holder",
    LooksThenLeases: "test_of_racing_holders_one_gets_it",
    LeasesForEver: "test_a_lease_ends_by_itself",
    LeasesOnce: "test_a_holder_may_renew",
    KeepsTheFurthestEnd: "test_renewing_may_shorten",
    ReleasesForAnybody: "test_only_its_holder_gives_a_lease_up",
    MatchesPatterns: "test_leases_by_the_beginning_of_their_names",
    CountsRenewals: "test_leases_are_no_commits",
    LeasesToEachProcess: "test_leases_are_shared",
}

_CAUGHT_BY_THE_MACHINE = (
    CommitsALostCompareAndSet, KeepsHalfACommit, KnowsNoCommitAgain, TakesAnyQueue, RevivesTheCondemned,
    CommitsTheUnregistered, KnowsNoGrace, ForgetsTheCondemnedAtOnce, MergesBlindly, HidesMerges, LeasesToAll,
    KeepsTheFurthestEnd, ReleasesForAnybody,
)  # fmt: skip
_RUNS = 20


@pytest.mark.parametrize(("liar", "name"), _LIARS.items(), ids=[liar.__name__ for liar in _LIARS])
def test_a_liar_is_caught(liar: type[Liar], name: str, tmp_path: Path) -> None:
    """A contract that a liar passes proves nothing about those who pass it."""
    _run(name, Liar, tmp_path / "honest")
    with pytest.raises((AssertionError, pytest.fail.Exception, AgentTraceError, ValueError)):
        _run(name, liar, tmp_path / "liar")


@pytest.mark.parametrize("liar", _CAUGHT_BY_THE_MACHINE)
def test_the_machine_catches_a_liar(liar: type[Liar], tmp_path: Path) -> None:
    """The machine must reach by itself, within a few runs, what the single tests spell out."""
    with pytest.raises((AssertionError, pytest.fail.Exception, AgentTraceError)):
        _run_machine_often(liar, tmp_path)


def _run_machine_often(catalog: type[Liar], folder: Path) -> None:
    for run in range(_RUNS):
        run_machine(MetadataMachine, _maker(catalog, folder / str(run)), shrink=False)


def _run(name: str, catalog: type[Liar], folder: Path) -> None:
    """Run one contract test over fresh stores, as pytest would."""
    anyio.run(_call, getattr(MetadataContract(), name), _maker(catalog, folder))


async def _call(test: Callable[..., Any], make: Make[MetadataStore]) -> None:
    if "adapter" not in inspect.signature(test).parameters:
        await test(make)
        return
    async with opened(make("main")) as adapter:
        await test(adapter)


def _maker(catalog: type[Liar], folder: Path) -> Make[MetadataStore]:
    return lambda name: catalog(str(folder / f"{name}.sqlite"))
