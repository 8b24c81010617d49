"""What occurs in a project's spans, for completion."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agenttrace_adapters.duckdb import DuckDBIndex
from agenttrace_contracts.index_world import LocalFolderObjects, World, light_row
from agenttrace_core.model.algebra import Attribute, Column

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Spans of two projects, which a flush puts into one file."""
    world = World(LocalFolderObjects(tmp_path))
    world.arrive(
        light_row(
            span_id=f"{i:016x}", project="other" if i == 9 else "default", model="secret" if i == 9 else f"gpt-{i % 2}",
            tags=["a", f"b{i}"], attributes=[("theirs" if i == 9 else "mine", str(i % 3)), ("long", None)],
        )
        for i in range(1, 10)
    )  # fmt: skip
    return world


@pytest.fixture
async def index(world: World) -> AsyncIterator[DuckDBIndex]:
    """An index over the world."""
    index = DuckDBIndex(threads=1)
    index.attach(world.storage)
    await index.open()
    yield index
    await index.aclose()


@pytest.mark.parametrize("flushed", [False, True])
async def test_values_and_keys_are_those_of_the_project(index: DuckDBIndex, world: World, flushed: bool) -> None:
    """Lost otherwise: completion, or what another project's spans are called."""
    if flushed:
        await world.flush()
    view = world.view()
    assert await index.values(view, "default", Column("model")) == [("gpt-0", 4), ("gpt-1", 4)]
    assert await index.values(view, "default", Column("model"), prefix="gpt-1") == [("gpt-1", 4)]
    assert await index.values(view, "default", Column("tag"), limit=2) == [("a", 8), ("b1", 1)]
    assert await index.values(view, "default", Column("duration")) == []
    assert await index.values(view, "default", Attribute("mine")) == [("1", 3), ("2", 3), ("0", 2)]
    assert await index.values(view, "default", Attribute("theirs")) == []
    assert await index.values(view, "default", Attribute("long")) == []
    assert await index.attribute_keys(view, "default") == [("long", 8), ("mine", 8)]
    assert await index.attribute_keys(view, "other", prefix="t") == [("theirs", 1)]
    assert await index.attribute_keys(view, "third") == []


async def test_both_files_and_what_is_live_are_looked_at(index: DuckDBIndex, world: World) -> None:
    """Lost otherwise: the values of the last minutes, or all but them."""
    await world.flush()
    world.arrive([light_row(span_id="f" * 16, model="gpt-1", attributes=[("new", "x")])])
    view = world.view()
    assert await index.values(view, "default", Column("model")) == [("gpt-1", 5), ("gpt-0", 4)]
    assert ("new", 1) in await index.attribute_keys(view, "default")
