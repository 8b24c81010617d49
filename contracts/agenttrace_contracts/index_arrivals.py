"""What an index that knows what arrived when must tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agenttrace_contracts.index_world import World
from agenttrace_core.ports.index import Arrivals, View
from agenttrace_core.query.arrivals import ARRIVAL, place_after


async def check_arrivals(index: Arrivals, world: World, view: View, project: str) -> None:
    """Assert that whoever goes on from any record is told all that came since, once and in order."""
    own = sorted((span for span in world.spans if span.light["project"] == project), key=lambda span: span.arrival)
    offsets = {span.light["offset"] for span in own}
    for since in sorted({0, *offsets, max(offsets, default=0) + 1})[-3::2]:
        expected = [(*span.arrival, span.source, span.row) for span in own if span.light["offset"] >= since]
        for limit in (2, 1000):
            assert await _walked(index, view, project, {0: since}, limit) == expected, (since, limit)
        await _check_moved(index, view, project, since, expected)


async def _check_moved(index: Arrivals, view: View, project: str, base: int, expected: list[tuple[Any, ...]]) -> None:
    """Assert that rows below the snapshot's ``offset_base``, which were moved there, are never new."""
    moved = View(replace(view.snapshot, offset_base=base), view.live)
    for place in ({0: 0}, {}):
        assert await _walked(index, moved, project, place, 2) == expected, (base, place)


async def _walked(
    index: Arrivals, view: View, project: str, place: Mapping[int, int], limit: int
) -> list[tuple[Any, ...]]:
    told = list[tuple[Any, ...]]()
    while True:
        rows = await index.arrivals(view, project, place, limit=limit)
        told += [tuple(row.values()) for row in rows.select([*ARRIVAL, "source", "row"]).to_pylist()]
        assert len(told) == len(set(told)), "a row is told twice"
        if len(rows) < limit:
            return told
        place = place_after(rows, place, {}, whole=False, offset_base=view.snapshot.offset_base)
