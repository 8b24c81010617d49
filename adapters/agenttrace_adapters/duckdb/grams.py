"""Which rows of files may hold a text, as merges have written it down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from agenttrace_adapters.duckdb.mapped import mapped_table
from agenttrace_adapters.duckdb.rows import translated
from agenttrace_adapters.duckdb.sources import SourceCache
from agenttrace_core.model.segment import SegmentFile
from agenttrace_core.schema.grams import Grams

_RANGES_AT_ONCE = 64
"""Of a statement: each row that is read is compared with all of them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Files to be asked by one statement, and the condition that leaves of their rows those that may hold a text."""

    files: Sequence[SegmentFile]
    condition: str


class TextBlocks:
    """Narrows what is read to find a text.

    Args:
        sources: where objects are.
        is_used: whether it does; without, answers are the same, and later.
    """

    def __init__(self, sources: SourceCache, *, is_used: bool = True) -> None:
        self._sources, self._is_used = sources, is_used

    async def asked(self, files: Sequence[SegmentFile], *texts: str) -> list[Asked]:
        """Return of which files what rows are to be asked for texts. Those that are in none do not hold all of them."""
        known = [file for file in files if self._is_used and "grams" in file.objects]
        paths = await self._sources.paths(known, "grams")
        ranges = await to_thread.run_sync(_ranges, paths, texts) if known else []
        of_file = dict(zip((file.id for file in known), ranges, strict=True))
        whole = [file for file in files if of_file.get(file.id) is None]
        some = [(file, own) for file in files if (own := of_file.get(file.id))]
        return [*([Asked(whole, "TRUE")] if whole else []), *_in_batches(some)]


def _ranges(paths: Sequence[Path], texts: Sequence[str]) -> list[list[tuple[int, int]] | None]:
    """Return what rows may hold some texts, by file; None where all may."""
    found: list[list[tuple[int, int]] | None] = []
    for path in paths:
        with translated(path):
            grams = Grams(mapped_table(path))
        ranges = grams.ranges(*texts)
        found.append(None if ranges == [(0, grams.rows - 1)] else ranges)
    return found


def _in_batches(files: Sequence[tuple[SegmentFile, list[tuple[int, int]]]]) -> list[Asked]:
    batches: list[list[tuple[SegmentFile, list[tuple[int, int]]]]] = []
    count = 0
    for file, ranges in files:
        count += len(ranges)
        if not batches or count > _RANGES_AT_ONCE:
            batches.append([])
            count = len(ranges)
        batches[-1].append((file, ranges))
    return [Asked([file for file, _ in batch], _condition([ranges for _, ranges in batch])) for batch in batches]


def _condition(of_files: Sequence[list[tuple[int, int]]]) -> str:
    conditions: list[str] = []
    for number, ranges in enumerate(of_files):
        runs = " OR ".join(f"file_row_number BETWEEN {first} AND {last}" for first, last in ranges)
        conditions.append(f"(file_index = {number} AND ({runs}))")
    return f"({' OR '.join(conditions)})"
