"""Rows by their scores, which are kept apart from spans: those of the traces that have some are looked up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.parts import Part
from agenttrace_adapters.duckdb.runs import among
from agenttrace_core.model.algebra import Op, SpanPredicate, Value
from agenttrace_core.query.evaluate import matches
from agenttrace_core.query.score_match import ScoresByName
from agenttrace_core.query.scores import EffectiveScores
from agenttrace_core.schema.arrays import Bools, Int64s, UInt64s, whole
from agenttrace_core.schema.keys import words_of_hex

Fetch = Callable[[Part, Int64s, Sequence[str]], Awaitable[pa.Table]]
"""Returns columns of rows of a part, given by ascending numbers counted from 0, and their ``LOCATION``."""


class ScoredRows:
    """The scores that a question asks for.

    Args:
        scores: by name, what counts.
        fetch: reads rows.
    """

    def __init__(self, scores: dict[str, EffectiveScores], fetch: Fetch) -> None:
        self.by_name = ScoresByName(scores)
        self._ids = {name: _traces_of(of) for name, of in scores.items()}
        self._fetch = fetch

    async def of_part(self, part: Part, name: str, op: Op | None, value: Value | None) -> Bools:
        """Return which rows of a file's part have a score that compares so; any score, with ``op`` None."""
        found = np.zeros(part.rows, np.bool_)
        rows = part.rows_of(among(part.hi, part.lo, *self._ids[name]))
        if len(rows):
            table = await self._fetch(part, rows, ("trace_id", "span_id"))
            found[rows] = self.by_name.matches(table, name, op, value)
        return found

    async def of_chunk(self, part: Part, predicate: SpanPredicate, *, undecided: bool) -> Bools:
        """Return which rows of a chunk satisfy a predicate in which scores are asked for."""
        assert part.table is not None, "chunks have tables"
        return matches(part.table, predicate, scores=self.by_name, undecided=undecided)


def _traces_of(scores: EffectiveScores) -> tuple[UInt64s, UInt64s]:
    ids = pa.concat_tables([scores.of_spans.select(["trace_id"]), scores.of_traces.select(["trace_id"])])
    words = words_of_hex(whole(ids["trace_id"]), 16)
    return np.ascontiguousarray(words[:, 0]), np.ascontiguousarray(words[:, 1])
