"""Several compactors on one catalog: each merges what the others do not."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from agenttrace_core.errors import UnavailableError
from agenttrace_core.model.segment import FileKind, SegmentFile
from agenttrace_core.ports.metrics import Meter
from agenttrace_core.services.claims import Claims, short_id
from agenttrace_core.services.compact import CompactConfig, CompactService
from agenttrace_core.services.write import WriteConfig
from tests.faults.apart import Shared, Writer
from tests.faults.test_trees import draw_requests

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

_EAGER = CompactConfig(fan_in=3, piece_rows=8, grace_s=60.0)


class Counts(Meter):
    """Keeps what is counted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, name: str, amount: float = 1.0) -> None:
        self.counts[name] += int(amount)

    def gauge(self, name: str, value: float) -> None:
        """Nothing here asks for it."""

    def observe(self, name: str, value: float) -> None:
        """Nor for this."""


async def test_compactors_do_not_do_each_others_work(tmp_path: Path) -> None:
    """Lost otherwise: the time of every compactor but one, whose merges come to nothing."""
    rng = random.Random(5)
    shared, told = Shared(tmp_path), Counts()
    await shared.queue.open()
    async with anyio.create_task_group() as tasks:
        often = WriteConfig(flush_bytes=400, chunk_bytes=300, chunk_interval_s=0.0)
        Writer(shared, "w", often).start(tasks)
        for _ in range(12):
            for specs in draw_requests(rng):
                await shared.send(specs)
        await shared.until_written()
        tasks.cancel_scope.cancel()

    async def compact(name: str) -> None:
        async with shared.backends() as (catalog, storage, _):
            service = CompactService(catalog=catalog, storage=storage, config=_EAGER, holder=name, meter=told)
            while await service.merge_once():
                pass

    async with anyio.create_task_group() as tasks:
        for name in ("a", "b", "c"):
            tasks.start_soon(compact, name)
    assert told.counts["merged_files_total"] > 10
    assert told.counts["merge_conflicts_total"] <= told.counts["merged_files_total"] // 10
    await shared.check_files()


def _file() -> SegmentFile:
    return SegmentFile(uuid4(), FileKind.SPANS, 0, "", {}, ())


async def test_a_claim_keeps_others_away_until_it_ends_or_its_holder_is_gone(tmp_path: Path) -> None:
    """Lost otherwise: merges done twice; or for ever those of a compactor that was killed."""
    one, two, three = _file(), _file(), _file()
    async with Shared(tmp_path).backends() as (catalog, *_):
        mine, yours = Claims(catalog, "me", ttl_s=0.3), Claims(catalog, "you", ttl_s=0.3)
        async with mine.on([one, two]) as is_mine:
            await anyio.sleep(0.6)  # and is renewed meanwhile
            assert is_mine
            assert await yours.of_others() == {short_id(one.id), short_id(two.id)}
            assert await mine.of_others() == set()
            async with yours.on([two, three]) as is_yours, yours.on([three]) as is_yours_alone:
                assert (is_yours, is_yours_alone) == (False, True)
        assert await yours.of_others() == set()
        await catalog.lease("compact/left", "killed", ttl_s=0.2)
        await anyio.sleep(0.3)
        assert await mine.of_others() == set()
        with pytest.raises(UnavailableError, match="as it was"):
            async with mine.on([one]):
                raise UnavailableError("as it was")
        assert (await mine.is_collector(), await yours.is_collector()) == (True, False)
