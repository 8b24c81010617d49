"""The contract of the metadata store: what counts changes all at once, by whoever is first, and for good."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import anyio
import pytest

from agenttrace_contracts.base import Make, opened, run_machine
from agenttrace_contracts.metadata_leases import LeasesContract
from agenttrace_contracts.metadata_machine import MetadataMachine
from agenttrace_contracts.metadata_values import QUEUE, a_file, a_letter, keys_of, live_ids, replaced_rows
from agenttrace_core.errors import ConflictError, NotFoundError, WatermarkConflictError
from agenttrace_core.model.segment import SegmentFile, StoredObject
from agenttrace_core.ports.catalog import Advance, Commit, DeadLetter, MetadataStore, Move

_HOUR_S = 3600.0
_SECRET_BYTES = 32


class MetadataContract(LeasesContract):
    """Every promise of ``MetadataStore``."""

    async def test_a_new_catalog_is_empty(self, adapter: MetadataStore) -> None:
        """Whatever is there before the first commit would be read as somebody's spans."""
        snapshot = await adapter.snapshot()
        assert (snapshot.files, snapshot.superseded, dict(snapshot.watermarks)) == ((), (), {})
        assert await adapter.watermarks() == (None, {})
        assert list(await adapter.bodies(10)) == []
        assert await adapter.version() == snapshot.version

    async def test_a_commit_reads_back_as_it_was(self, adapter: MetadataStore) -> None:
        """A segment that is changed by the catalog points at other rows of its file."""
        file = a_file(1, segments=3)
        version = await _flushed(adapter, file, Advance(0, 0, 100), Advance(7, 0, 2**40))
        snapshot = await adapter.snapshot()
        assert snapshot.version == version == await adapter.version()
        assert snapshot.files == (file,)
        assert dict(snapshot.watermarks) == {0: 100, 7: 2**40}
        assert await adapter.watermarks() == (QUEUE, {0: 100, 7: 2**40})

    async def test_a_file_of_many_projects(self, adapter: MetadataStore) -> None:
        """A flush writes one file for all projects that it met: there may be thousands."""
        file = a_file(1, segments=5000)
        await _flushed(adapter, file)
        assert (await adapter.snapshot()).files == (file,)

    async def test_pending_files_are_not_seen(self, adapter: MetadataStore) -> None:
        """A file that is registered may not have been uploaded yet."""
        version = await adapter.version()
        await _registered(adapter, a_file(1))
        assert (await adapter.snapshot()).files == ()
        assert await adapter.version() == version

    async def test_every_commit_has_a_greater_version(self, adapter: MetadataStore) -> None:
        """A reader that polls the version must not miss a commit, whatever it changed."""
        versions = [await adapter.version()]
        versions.append(await adapter.commit(Commit(QUEUE, [])))
        versions.append(await _flushed(adapter, a_file(1)))
        await _registered(adapter, a_file(2))
        versions.append(await adapter.replace([a_file(1).id], [a_file(2)], version=versions[-1]))
        assert versions == sorted(set(versions))
        assert await adapter.version() == versions[-1]

    async def test_a_lost_compare_and_set_changes_nothing(self, adapter: MetadataStore) -> None:
        """The losing writer of two must not leave half a commit: its spans would be there twice."""
        await _flushed(adapter, a_file(1), Advance(0, 0, 10))
        await _registered(adapter, a_file(2))
        before = await adapter.snapshot()
        loser = Commit(
            QUEUE, [Advance(1, 0, 5), Advance(0, 5, 20)], [a_file(2)],
            superseded=[replaced_rows(a_file(1).id, [0])], bodies=[b"b" * 16], dead_letters=[a_letter("0-1")],
        )  # fmt: skip
        with pytest.raises(WatermarkConflictError):
            await adapter.commit(loser)
        assert await adapter.snapshot() == before
        assert list(await adapter.bodies(10)) == []
        assert list(await adapter.dead_letters("p0", limit=10)) == []

    @pytest.mark.parametrize("wrong", [Advance(0, 0, 20), Advance(0, 11, 20), Advance(0, 10, 9), Advance(3, 1, 2)])
    async def test_a_watermark_moves_from_where_it_is_and_forward(self, adapter: MetadataStore, wrong: Advance) -> None:
        """Skipped records are lost once the queue is trimmed; repeated ones are doubled."""
        await adapter.commit(Commit(QUEUE, [Advance(0, 0, 10)]))
        with pytest.raises(WatermarkConflictError):
            await adapter.commit(Commit(QUEUE, [wrong]))
        assert await adapter.watermarks() == (QUEUE, {0: 10})

    async def test_another_queue_is_refused(self, adapter: MetadataStore) -> None:
        """Offsets of another log mean other records."""
        await adapter.commit(Commit(QUEUE, [Advance(0, 0, 10)]))
        for advances in ([Advance(0, 10, 20)], [Advance(1, 0, 1)], []):
            with pytest.raises(WatermarkConflictError):
                await adapter.commit(Commit(uuid4(), advances))
        assert await adapter.watermarks() == (QUEUE, {0: 10})

    async def test_a_commit_that_is_sent_again_counts_once(self, adapter: MetadataStore) -> None:
        """A writer whose connection broke in a commit must learn that it went through: nobody else has the files."""
        await _registered(adapter, a_file(1))
        commit = Commit(
            QUEUE, [Advance(0, 0, 10)], [a_file(1)], superseded=[replaced_rows(a_file(1).id, [0])],
            bodies=[b"b" * 16], dead_letters=[a_letter("0-1")],
        )  # fmt: skip
        version = await adapter.commit(commit)
        await _flushed(adapter, a_file(2), Advance(0, 10, 20))
        before = await adapter.snapshot()
        assert await adapter.commit(commit) == version
        assert await adapter.snapshot() == before
        assert list(await adapter.bodies(10)) == [b"b" * 16]
        same_but_new = replace(commit, id=uuid4(), advances=[])
        with pytest.raises(ConflictError):
            await adapter.commit(same_but_new)

    async def test_a_commit_that_failed_may_be_sent_again(self, adapter: MetadataStore) -> None:
        """What changed nothing must not be taken for done."""
        commit = Commit(QUEUE, [Advance(0, 0, 10)], [a_file(1)])
        with pytest.raises(ConflictError):
            await adapter.commit(commit)
        await _registered(adapter, a_file(1))
        assert await adapter.commit(commit) == await adapter.version()
        assert await live_ids(adapter) == {a_file(1).id}

    async def test_of_racing_commits_one_wins(self, adapter: MetadataStore) -> None:
        """Two writers after a failed-over lease: exactly one may advance each step."""
        won: list[int] = []

        async def commit(number: int) -> None:
            await _registered(adapter, a_file(number))
            try:
                await adapter.commit(Commit(QUEUE, [Advance(0, 0, 10 + number)], [a_file(number)]))
            except WatermarkConflictError:
                return
            won.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(commit, number)
        (winner,) = won
        assert (await adapter.snapshot()).files == (a_file(winner),)
        assert await adapter.watermarks() == (QUEUE, {0: 10 + winner})

    async def test_only_pending_files_become_live(self, adapter: MetadataStore) -> None:
        """A file that was never registered is nobody's to clean up, and one that is live counts already."""
        await _flushed(adapter, a_file(1))
        await _registered(adapter, a_file(2))
        for number in (1, 3):
            with pytest.raises(ConflictError):
                await adapter.commit(Commit(QUEUE, [Advance(0, 0, 10)], [a_file(2), a_file(number)]))
        assert await live_ids(adapter) == {a_file(1).id}
        assert await adapter.watermarks() == (QUEUE, {})

    async def test_registering_again_is_for_pending_files_only(self, adapter: MetadataStore) -> None:
        """A replay of the same records registers the same file; once it counts, it must be left alone."""
        await _registered(adapter, a_file(1))
        await _registered(adapter, a_file(1))
        await adapter.commit(Commit(QUEUE, [], [a_file(1)]))
        with pytest.raises(ConflictError):
            await _registered(adapter, a_file(1))

    async def test_condemned_files_never_live(self, adapter: MetadataStore) -> None:
        """A writer that slept for a day must not publish what the collector has deleted."""
        await _registered(adapter, a_file(1))
        await _flushed(adapter, a_file(2))
        assert await _collected(adapter) == set(keys_of(a_file(1)))
        for forgotten in ([], keys_of(a_file(1))):
            await adapter.forget(forgotten)
            with pytest.raises(ConflictError):
                await adapter.commit(Commit(QUEUE, [Advance(0, 0, 10)], [a_file(1)]))
            with pytest.raises(ConflictError):
                await adapter.replace([a_file(2).id], [a_file(1)], version=await adapter.version())
            with pytest.raises(ConflictError):
                await _registered(adapter, a_file(1))
        assert await live_ids(adapter) == {a_file(2).id}

    async def test_the_young_are_not_condemned(self, adapter: MetadataStore) -> None:
        """An upload takes its time; so does the longest query over files that were replaced."""
        await _flushed(adapter, a_file(1))
        await _registered(adapter, a_file(2))
        await adapter.replace([a_file(1).id], [a_file(2)], version=await adapter.version())
        await _registered(adapter, a_file(3))
        assert list(await adapter.condemned(grace_s=_HOUR_S)) == []
        await adapter.commit(Commit(QUEUE, [], [a_file(3)]))
        assert await live_ids(adapter) == {a_file(2).id, a_file(3).id}

    async def test_the_condemned_are_listed_until_forgotten(self, adapter: MetadataStore) -> None:
        """An object that is forgotten before it was deleted is paid for for ever."""
        await _flushed(adapter, a_file(1))
        await adapter.replace([a_file(1).id], [], version=await adapter.version())
        await _registered(adapter, a_file(2))
        wanted = sorted([*a_file(1).objects.values(), *a_file(2).objects.values()], key=lambda o: o.key)
        for _ in range(2):
            await adapter.condemned(grace_s=0)
            assert sorted(await adapter.condemned(grace_s=0), key=lambda o: o.key) == wanted
        await adapter.forget(keys_of(a_file(1)))
        await adapter.forget([*keys_of(a_file(1)), "never/there"])
        assert await _collected(adapter) == set(keys_of(a_file(2)))

    async def test_objects_of_an_earlier_try_are_condemned_too(self, adapter: MetadataStore) -> None:
        """A writer that was killed in its upload, and encodes anew, leaves an object that nothing names."""
        first = StoredObject("spans/first-try", 1, "00")
        await adapter.register(a_file(1).id, [first])
        await _registered(adapter, a_file(1))
        await adapter.register(a_file(1).id, [first])
        await adapter.commit(Commit(QUEUE, [], [a_file(1)]))
        assert await _collected(adapter) == {"spans/first-try"}

    async def test_what_a_live_file_names_is_not_listed(self, adapter: MetadataStore) -> None:
        """Deleting an object that another file shares loses that file."""
        shared = a_file(1)
        other = SegmentFile(a_file(2).id, shared.kind, 0, "n", shared.objects, shared.segments)
        await _registered(adapter, other)
        await _flushed(adapter, shared)
        await adapter.commit(Commit(QUEUE, [], [other]))
        await adapter.replace([shared.id], [], version=await adapter.version())
        assert await _collected(adapter) == set()
        await adapter.replace([other.id], [], version=await adapter.version())
        assert await _collected(adapter) == set(keys_of(shared))

    async def test_replacing_is_all_or_nothing(self, adapter: MetadataStore) -> None:
        """Half a merge shows spans twice, or not at all."""
        for number in (1, 2):
            await _flushed(adapter, a_file(number))
        await _registered(adapter, a_file(3))
        before = await adapter.snapshot()
        for old, new in (([1, 9], [3]), ([1, 3], []), ([1, 2], [3, 4]), ([1], [2])):
            with pytest.raises(ConflictError):
                await adapter.replace([a_file(n).id for n in old], [a_file(n) for n in new], version=before.version)
            assert await adapter.snapshot() == before
        version = await adapter.replace([a_file(1).id, a_file(2).id], [a_file(3)], version=before.version)
        after = await adapter.snapshot()
        assert (after.version, after.files, dict(after.watermarks)) == (version, (a_file(3),), {})

    async def test_a_merge_that_missed_a_superseded_row_is_refused(self, adapter: MetadataStore) -> None:
        """A compactor that read before the row was replaced would bring the old version back to life."""
        version = await _flushed(adapter, a_file(1))
        await _flushed(adapter, a_file(2))
        await adapter.commit(Commit(QUEUE, [], superseded=[replaced_rows(a_file(1).id, [3])]))
        await _registered(adapter, a_file(3))
        with pytest.raises(ConflictError):
            await adapter.replace([a_file(1).id, a_file(2).id], [a_file(3)], version=version)
        await adapter.replace([a_file(1).id, a_file(2).id], [a_file(3)], version=await adapter.version())
        assert (await adapter.snapshot()).superseded == ()

    async def test_superseded_rows_need_a_live_file(self, adapter: MetadataStore) -> None:
        """A row that was merged away meanwhile must be looked for again, in the file that has it now."""
        await _flushed(adapter, a_file(1))
        await _registered(adapter, a_file(2))
        await adapter.replace([a_file(1).id], [a_file(2)], version=await adapter.version())
        for file_id in (a_file(1).id, a_file(5).id):
            with pytest.raises(ConflictError):
                await adapter.commit(Commit(QUEUE, [Advance(0, 0, 9)], superseded=[replaced_rows(file_id, [0])]))
        assert (await adapter.snapshot()).superseded == ()
        assert await adapter.watermarks() == (QUEUE, {})

    async def test_a_commit_may_supersede_rows_of_its_own_files(self, adapter: MetadataStore) -> None:
        """A row may be replaced while the file that holds it is being encoded."""
        await _registered(adapter, a_file(1))
        await adapter.commit(Commit(QUEUE, [], [a_file(1)], superseded=[replaced_rows(a_file(1).id, [2])]))
        assert [s.rows for s in (await adapter.snapshot()).superseded] == [(2,)]

    async def test_bodies_are_remembered_in_order(self, adapter: MetadataStore) -> None:
        """A sender that retries after an answer was lost is found by these, the newest first to matter."""
        hashes = [bytes([n]) * 16 for n in range(50)]
        for at in range(0, 50, 7):
            await adapter.commit(Commit(QUEUE, [], bodies=hashes[at : at + 7]))
        assert list(await adapter.bodies(1000)) == hashes
        assert list(await adapter.bodies(9)) == hashes[-9:]
        assert list(await adapter.bodies(0)) == []

    async def test_dead_letters_are_the_projects_own(self, adapter: MetadataStore) -> None:
        """What one project sent, another must never read."""
        letters = [a_letter(f"0-{n}", project=f"p{n % 2}", received=n) for n in range(6)]
        await adapter.commit(Commit(QUEUE, [], dead_letters=letters))
        assert list(await adapter.dead_letters("p0", limit=10)) == [letters[4], letters[2], letters[0]]
        assert await adapter.dead_letter("p0", "0-4") == letters[4]
        for project, letter_id in (("p1", "0-4"), ("p0", "0-99"), ("p9", "0-0")):
            with pytest.raises(NotFoundError):
                await adapter.dead_letter(project, letter_id)
        await adapter.drop_dead_letters("p1", ["0-4"])
        assert await adapter.dead_letter("p0", "0-4") == letters[4]

    async def test_dead_letters_in_pages(self, adapter: MetadataStore) -> None:
        """A replay walks the list while it drops what it has replayed; nothing may be passed over."""
        letters = [a_letter(f"{n % 3}-{n}", received=n // 4) for n in range(30)]
        await adapter.commit(Commit(QUEUE, [], dead_letters=letters))
        whole = list(await adapter.dead_letters("p0", limit=100))
        assert sorted(whole, key=lambda letter: letter.id) == sorted(letters, key=lambda letter: letter.id)
        assert [x.received_ns for x in whole] == sorted((x.received_ns for x in whole), reverse=True)
        walked: list[DeadLetter] = []
        while page := await adapter.dead_letters("p0", limit=7, before=walked[-1].id if walked else None):
            walked += page
            await adapter.drop_dead_letters("p0", [letter.id for letter in page])
        assert walked == whole
        assert list(await adapter.dead_letters("p0", limit=10)) == []

    async def test_dropped_letters_condemn_their_bytes(self, adapter: MetadataStore) -> None:
        """Bytes that a letter kept are deleted with it, and not a moment before."""
        kept = StoredObject("dead-letters/1", 5, "ff")
        await adapter.commit(Commit(QUEUE, [], dead_letters=[a_letter("0-1", stored=kept), a_letter("0-2")]))
        assert await _collected(adapter) == set()
        for _ in range(2):
            await adapter.drop_dead_letters("p0", ["0-1", "0-2", "0-3"])
        assert await _collected(adapter) == {kept.key}
        with pytest.raises(NotFoundError):
            await adapter.dead_letter("p0", "0-1")

    async def test_projects_are_told_that_have_letters(self, adapter: MetadataStore) -> None:
        """Moved elsewhere without those of a project that has nothing else, its owner would never know."""
        letters = [replace(a_letter("0-1"), project="b"), a_letter("0-2"), replace(a_letter("0-3"), project="a")]
        await adapter.commit(Commit(QUEUE, [], dead_letters=letters))
        assert list(await adapter.projects_with_letters()) == ["a", "b", "p0"]
        await adapter.drop_dead_letters("b", ["0-1"])
        assert list(await adapter.projects_with_letters()) == ["a", "p0"]

    async def test_a_move_begins_in_an_empty_catalog_and_ends_once(self, adapter: MetadataStore) -> None:
        """Half of a deployment must not be taken for the whole, nor be added to another's spans."""
        source = uuid4()
        assert await adapter.move() is None
        with pytest.raises(ConflictError):
            await adapter.end_move(7)
        for _ in range(2):
            await adapter.begin_move(source)
        with pytest.raises(ConflictError):
            await adapter.begin_move(uuid4())
        assert await adapter.move() == Move(source)
        version = await _flushed(adapter, a_file(1))
        await adapter.begin_move(source)
        assert (await adapter.snapshot()).offset_base == 0
        await adapter.end_move(2**40)
        assert await adapter.move() == Move(source, finished=True, offset_base=2**40)
        snapshot = await adapter.snapshot()
        assert (snapshot.offset_base, snapshot.files) == (2**40, (a_file(1),))
        assert snapshot.version == await adapter.version() > version
        for refused in (adapter.begin_move(source), adapter.end_move(7)):
            with pytest.raises(ConflictError):
                await refused

    async def test_a_move_is_refused_by_a_catalog_in_use(self, adapter: MetadataStore) -> None:
        """What two deployments held cannot be told apart again."""
        await adapter.commit(Commit(QUEUE, []))
        with pytest.raises(ConflictError):
            await adapter.begin_move(uuid4())
        assert await adapter.move() is None

    async def test_secrets_are_made_once(self, adapter: MetadataStore) -> None:
        """A receipt that one process signed, another must be able to read."""
        found: list[bytes] = []

        async def ask() -> None:
            found.append(await adapter.secret("receipts"))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
        assert len(set(found)) == 1
        assert len(found[0]) == _SECRET_BYTES
        assert await adapter.secret("another") != found[0]

    async def test_what_was_committed_outlives_the_instance(self, make: Make[MetadataStore]) -> None:
        """The catalog is the one place that says which files count: without it they are noise."""
        async with opened(make("kept")) as first:
            await _flushed(first, a_file(1), Advance(0, 0, 10))
            await first.commit(
                Commit(QUEUE, [], superseded=[replaced_rows(a_file(1).id, [1])], bodies=[b"b" * 16],
                       dead_letters=[a_letter("0-1")])
            )  # fmt: skip
            before, secret = await first.snapshot(), await first.secret("receipts")
            is_durable = first.capabilities.durable
        async with opened(make("kept")) as second:
            if not is_durable:
                assert (await second.snapshot()).files == ()
                return
            assert await second.snapshot() == before
            assert await second.watermarks() == (QUEUE, {0: 10})
            assert list(await second.bodies(9)) == [b"b" * 16]
            assert await second.dead_letter("p0", "0-1") == a_letter("0-1")
            assert await second.secret("receipts") == secret

    async def test_instances_share_what_is_declared_shared(self, make: Make[MetadataStore]) -> None:
        """Writer, query and compactor are processes of their own."""
        async with opened(make("shared")) as one, opened(make("shared")) as other:
            await other.snapshot()
            version = await _flushed(one, a_file(1), Advance(0, 0, 10))
            if not one.capabilities.multi_process:
                assert (await other.snapshot()).files == ()
                return
            assert await other.version() == version
            assert await other.snapshot() == await one.snapshot()
            with pytest.raises(WatermarkConflictError):
                await other.commit(Commit(QUEUE, [Advance(0, 0, 10)]))
            repeated = Commit(QUEUE, [Advance(0, 10, 20)])
            assert await one.commit(repeated) == await other.commit(repeated)
            await other.replace([a_file(1).id], [], version=version)
            assert (await one.snapshot()).files == ()
            assert await one.secret("s") == await other.secret("s")

    async def test_stores_are_apart(self, make: Make[MetadataStore]) -> None:
        """Two deployments side by side must not meet."""
        async with opened(make("one")) as one, opened(make("other")) as other:
            await _flushed(one, a_file(1), Advance(0, 0, 10))
            assert await other.watermarks() == (None, {})
            assert await one.secret("s") != await other.secret("s")

    async def test_closing_twice_or_unopened_is_harmless(self, make: Make[MetadataStore]) -> None:
        """A start that fails half-way closes whatever it holds."""
        await make("main").aclose()
        async with opened(make("main")) as adapter:
            await adapter.aclose()

    def test_any_order_of_calls(self, make: Make[MetadataStore]) -> None:
        """Whatever comes in whatever order, it behaves as a model of forty lines of plain Python."""
        run_machine(MetadataMachine, make)


async def _registered(catalog: MetadataStore, file: SegmentFile) -> None:
    await catalog.register(file.id, list(file.objects.values()))


async def _flushed(catalog: MetadataStore, file: SegmentFile, *advances: Advance) -> int:
    await _registered(catalog, file)
    return await catalog.commit(Commit(QUEUE, advances, [file]))


async def _collected(catalog: MetadataStore) -> set[str]:
    # Twice: what the first call condemns may be listed by the next one only.
    await catalog.condemned(grace_s=0)
    return {o.key for o in await catalog.condemned(grace_s=0)}
