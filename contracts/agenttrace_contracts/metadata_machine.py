"""The metadata store against a model: files, watermarks and letters in dictionaries."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from agenttrace_contracts.base import AdapterMachine
from agenttrace_contracts.metadata_values import QUEUE, a_file, a_letter, keys_of, replaced_rows, told
from agenttrace_core.errors import ConflictError, WatermarkConflictError
from agenttrace_core.model.segment import Superseded
from agenttrace_core.ports.catalog import Advance, Commit, MetadataStore

_PARTITIONS = 2


class MetadataMachine(AdapterMachine[MetadataStore]):
    """Registers, commits, replaces and collects a few files, in any order, rightly and wrongly."""

    examples = 30
    steps = 40

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.states: dict[int, str] = {}
        self.watermarks: dict[int, int] = {}
        self.queue: UUID | None = None
        self.superseded: list[tuple[int, int, Superseded]] = []
        self.condemned: set[str] = set()
        self.bodies: list[bytes] = []
        self.letters: list[str] = []
        self.leases: dict[str, str] = {}
        self.commits: list[tuple[Commit, int]] = []
        self.version = self.run(self.adapter.version)
        self.row = 0

    @rule(count=st.integers(1, 3))
    def register_new(self, count: int) -> None:
        """Announce files that nobody knows."""
        for number in range(len(self.states), len(self.states) + count):
            file = a_file(number)
            self.run(self.adapter.register, file.id, list(file.objects.values()))
            self.states[number] = "pending"

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def register_again(self, data: st.DataObject) -> None:
        """Announce a file that is known."""
        number = data.draw(st.sampled_from(list(self.states)))
        file = a_file(number)
        if self.states[number] == "pending":
            self.run(self.adapter.register, file.id, list(file.objects.values()))
            return
        with pytest.raises(ConflictError):
            self.run(self.adapter.register, file.id, list(file.objects.values()))

    @rule(
        data=st.data(),
        partition=st.integers(0, _PARTITIONS - 1),
        off_by=st.sampled_from([0] * 8 + [1, -1]),
        is_other_queue=st.sampled_from([False] * 7 + [True]),
        bodies=st.integers(0, 3),
        has_letter=st.booleans(),
    )
    def commit(
        self, data: st.DataObject, partition: int, off_by: int, is_other_queue: bool, bodies: int, has_letter: bool
    ) -> None:
        """Commit a flush; one that lost, or names a file of the wrong state, changes nothing."""
        files, superseded = self._some(data, "pending"), self._some(data, "live", max_size=1)
        at = self.watermarks.get(partition, 0)
        queue = uuid5(QUEUE, "other") if is_other_queue else QUEUE
        rows = [(number, self._replaced(number)) for number in superseded]
        commit = Commit(
            queue, [Advance(partition, at + off_by, at + 10)], [a_file(n) for n in files],
            superseded=[s for _, s in rows],
            bodies=[(len(self.bodies) + n).to_bytes(16, "big") for n in range(bodies)],
            dead_letters=[a_letter(f"0-{at}-{self.row}-{self.version}", received=self.version)] if has_letter else [],
        )  # fmt: skip
        if off_by or (self.queue or queue) != queue:
            with pytest.raises(WatermarkConflictError):
                self.run(self.adapter.commit, commit)
            return
        if not self._are(files, "pending") or not all(self.states.get(n) == "live" or n in files for n in superseded):
            with pytest.raises(ConflictError):
                self.run(self.adapter.commit, commit)
            return
        self._grow(self.run(self.adapter.commit, commit))
        self.commits.append((commit, self.version))
        self.queue = queue
        self.watermarks[partition] = at + 10
        self.states |= dict.fromkeys(files, "live")
        self.superseded += [(number, self.version, s) for number, s in rows]
        self.bodies += commit.bodies
        self.letters += [letter.id for letter in commit.dead_letters]

    @rule(data=st.data())
    def supersede(self, data: st.DataObject) -> None:
        """Commit nothing but that a row was replaced."""
        number = next(iter(self._some(data, "live", max_size=1)), len(self.states))
        rows = self._replaced(number)
        commit = Commit(self.queue or QUEUE, [], superseded=[rows])
        if self.states.get(number) != "live":
            with pytest.raises(ConflictError):
                self.run(self.adapter.commit, commit)
            return
        self._grow(self.run(self.adapter.commit, commit))
        self.queue = commit.queue_id
        self.superseded.append((number, self.version, rows))

    @rule(data=st.data(), age=st.integers(0, 2))
    def replace(self, data: st.DataObject, age: int) -> None:
        """Merge files, from a snapshot that may be old."""
        old, new = self._some(data, "live"), self._some(data, "pending")
        version = self.version - age
        is_stale = any(number in old and since > version for number, since, _ in self.superseded)
        call = [a_file(n).id for n in old], [a_file(n) for n in new]
        if is_stale or not self._are(old, "live") or not self._are(new, "pending"):
            with pytest.raises(ConflictError):
                self.run(lambda: self.adapter.replace(*call, version=version))
            return
        self._grow(self.run(lambda: self.adapter.replace(*call, version=version)))
        self._condemn(old)
        self.states |= dict.fromkeys(new, "live")

    @precondition(lambda self: self.commits)
    @rule(data=st.data())
    def commit_again(self, data: st.DataObject) -> None:
        """Send a commit again that went through: the invariants say that it changes nothing."""
        commit, version = data.draw(st.sampled_from(self.commits[-3:]))
        assert self.run(self.adapter.commit, commit) == version

    @rule(comes_early=st.sampled_from([True, True, True, False]))
    def collect(self, comes_early: bool) -> None:
        """List what may be deleted. It condemns all that is pending, so it is seldom let near that."""
        if comes_early and "pending" in self.states.values():
            return
        self._condemn([number for number, state in self.states.items() if state == "pending"])
        self.run(lambda: self.adapter.condemned(grace_s=0))
        found = self.run(lambda: self.adapter.condemned(grace_s=0))
        assert sorted(o.key for o in found) == sorted(self.condemned)

    @rule()
    def collect_the_old(self) -> None:
        """Nothing is an hour old."""
        assert list(self.run(lambda: self.adapter.condemned(grace_s=3600))) == []

    @precondition(lambda self: self.condemned)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Some objects were deleted."""
        keys = data.draw(st.lists(st.sampled_from(sorted(self.condemned)), max_size=4))
        self.run(self.adapter.forget, keys)
        self.condemned -= set(keys)

    @precondition(lambda self: self.letters)
    @rule(data=st.data())
    def drop_letters(self, data: st.DataObject) -> None:
        """Some letters were replayed."""
        ids = data.draw(st.lists(st.sampled_from(self.letters), max_size=2))
        self.run(self.adapter.drop_dead_letters, "p0", ids)
        self.letters = [letter_id for letter_id in self.letters if letter_id not in ids]

    @rule(name=st.sampled_from(["l/0", "l/1"]), holder=st.sampled_from(["a", "b"]), is_long=st.booleans())
    def lease(self, name: str, holder: str, is_long: bool) -> None:
        """Take or renew a lease, for long or until now."""
        is_mine = self.leases.get(name, holder) == holder
        assert self.run(lambda: self.adapter.lease(name, holder, ttl_s=3600 * is_long)) is is_mine
        if is_mine:
            self.leases.pop(name, None)
        if is_mine and is_long:
            self.leases[name] = holder

    @rule(name=st.sampled_from(["l/0", "l/1"]), holder=st.sampled_from(["a", "b"]))
    def release(self, name: str, holder: str) -> None:
        """Give a lease up, or try to."""
        self.run(self.adapter.release, name, holder)
        if self.leases.get(name) == holder:
            del self.leases[name]

    @precondition(lambda self: self.adapter.capabilities.durable)
    @rule()
    def restart(self) -> None:
        """Close, and open another instance over the same store."""
        self.reopen()

    @precondition(lambda self: self.adapter.capabilities.multi_process)
    @rule()
    def go_on_elsewhere(self) -> None:
        """Another process goes on, while this one has read something already."""
        before, self.adapter = self.adapter, self.another()
        self.run(before.aclose)

    @invariant()
    def says_what_the_model_says(self) -> None:
        """One snapshot holds it all, and nothing else."""
        snapshot = self.run(self.adapter.snapshot)
        live = {a_file(n).id: a_file(n) for n, state in self.states.items() if state == "live"}
        assert {file.id: file for file in snapshot.files} == live
        assert len(snapshot.files) == len(live)
        assert dict(snapshot.watermarks) == self.watermarks
        assert told(snapshot.superseded) == told([s for _, _, s in self.superseded])
        assert snapshot.version == self.version == self.run(self.adapter.version)

    @invariant()
    def remembers_what_the_model_remembers(self) -> None:
        """What a writer asks at its start."""
        assert self.run(self.adapter.watermarks) == (self.queue, self.watermarks)
        assert self.run(self.adapter.leases, "l/") == self.leases
        assert list(self.run(self.adapter.bodies, 5)) == self.bodies[-5:]
        letters = self.run(lambda: self.adapter.dead_letters("p0", limit=1000))
        assert sorted(letter.id for letter in letters) == sorted(self.letters)

    def _replaced(self, number: int) -> Superseded:
        self.row += 1
        return replaced_rows(a_file(number).id, [self.row])

    def _some(self, data: st.DataObject, state: str, max_size: int = 2) -> list[int]:
        """Draw a few files of the state that a call needs, now and then any, known or not."""
        right = [number for number, has in self.states.items() if has == state]
        if data.draw(st.sampled_from([False] * 9 + [True])):
            right = list(range(len(self.states) + 1))
        size = min(len(right), data.draw(st.sampled_from([1] * 4 + list(range(max_size + 1)))))
        return data.draw(st.permutations(right))[:size]

    def _are(self, numbers: list[int], state: str) -> bool:
        return all(self.states.get(number) == state for number in numbers)

    def _grow(self, version: int) -> None:
        assert version > self.version
        self.version = version

    def _condemn(self, numbers: list[int]) -> None:
        self.states |= dict.fromkeys(numbers, "condemned")
        self.condemned |= {key for number in numbers for key in keys_of(a_file(number))}
        self.superseded = [item for item in self.superseded if item[0] not in numbers]
