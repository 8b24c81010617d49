"""An index that overlooks what later arrivals changed is caught: the contract's checks must fail on each of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from agenttrace_adapters.memory.index import MemoryIndex
from agenttrace_contracts.base import opened
from agenttrace_contracts.index import check_all
from agenttrace_contracts.index_world import TRACE_ID, FolderObjects, World, light_row
from agenttrace_core.ports.index import View

pytestmark = pytest.mark.anyio

_LATE = "9".zfill(16)


class Overlooks(MemoryIndex):
    """Does not see some of what is said of rows written before."""

    def sees(self, name: str, told: pa.Table) -> pa.Table:
        """The part that it sees."""
        return told

    async def _changes(self, view: View, project: str, name: str, schema: pa.Schema) -> pa.Table:
        return self.sees(name, await super()._changes(view, project, name, schema))


class OverlooksFlips(Overlooks):
    """Tokens that were flipped away are counted still."""

    def sees(self, name: str, told: pa.Table) -> pa.Table:
        return told.slice(0, 0) if name == "flips" else told


class FlipsOnce(Overlooks):
    """Takes the second flip of a row for the first."""

    def sees(self, name: str, told: pa.Table) -> pa.Table:
        return told.slice(0, 1) if name == "flips" else told


class OverlooksContexts(Overlooks):
    """Spans stay without the agent that their parent names."""

    def sees(self, name: str, told: pa.Table) -> pa.Table:
        return told.slice(0, 0) if name == "contexts" else told


class StopsAtTheParent(Overlooks):
    """Does not seek on where a parent says that its own parent knows more."""

    def sees(self, name: str, told: pa.Table) -> pa.Table:
        return told.slice(0, 1) if name == "contexts" else told


class FlipsRowsAlone(MemoryIndex):
    """Rows say that they do not count, and sums count them."""

    async def _ledger(self, view: View, project: str) -> pa.Table:
        class Blind(MemoryIndex):
            async def _changes(self, view: View, project: str, name: str, schema: pa.Schema) -> pa.Table:
                return schema.empty_table()

        blind = Blind()
        blind.attach(self._storage)
        return await blind._ledger(view, project)


class TellsWhatWasMoved(MemoryIndex):
    """Takes rows that were moved to the catalog from another queue for such as arrive."""

    async def arrivals(self, view: View, project: str, since: Mapping[int, int], *, limit: int) -> pa.Table:
        unmoved = View(replace(view.snapshot, offset_base=0), view.live)
        return await super().arrivals(unmoved, project, since, limit=limit)


async def _course_of_events(make: Callable[[], MemoryIndex], folder: Path) -> None:
    world = World(FolderObjects(folder))
    index = make()
    index.attach(world.storage)
    async with opened(index) as adapter:
        world.arrive([light_row(input_tokens=10), light_row(span_id="b" * 16, context_ref=_LATE)])
        await world.flush()
        for _ in range(2):
            world.flip(world.spans[:1])
            await check_all(adapter, world)
        world.tell("default", TRACE_ID, _LATE, agent="a", ref="8".zfill(16))
        world.tell("default", TRACE_ID, "8".zfill(16), user_id="u")
        await check_all(adapter, world)


_LIARS = [OverlooksFlips, FlipsOnce, OverlooksContexts, StopsAtTheParent, FlipsRowsAlone, TellsWhatWasMoved]


@pytest.mark.parametrize("liar", _LIARS)
async def test_a_liar_is_caught(liar: type[MemoryIndex], tmp_path: Path) -> None:
    """Lost otherwise: the worth of the suite to who writes an index."""
    await _course_of_events(MemoryIndex, tmp_path / "honest")
    with pytest.raises(AssertionError):
        await _course_of_events(liar, tmp_path / "liar")
