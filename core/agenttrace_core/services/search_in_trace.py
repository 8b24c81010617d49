"""Search inside of one trace, in the query language: light rows first, and payloads where those can't decide."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread

from agenttrace_core.model.algebra import EVERY_TRACE, SpanPredicate
from agenttrace_core.model.score import ScoreSelection
from agenttrace_core.ports.index import SpanIndex
from agenttrace_core.query.caret import query_error
from agenttrace_core.query.evaluate import matches, needed_columns
from agenttrace_core.query.language import parse_spans
from agenttrace_core.query.resolve import RESOLVE_COLUMNS
from agenttrace_core.query.score_match import ScoresByName, score_names
from agenttrace_core.query.scores import EffectiveScores
from agenttrace_core.query.settle import SETTLE_COLUMNS
from agenttrace_core.schema.arrays import Bools
from agenttrace_core.services.otlp_pieces import located
from agenttrace_core.services.queries import logs_of
from agenttrace_core.services.trace_rows import settled_rows
from agenttrace_core.services.view import Seen
from agenttrace_core.wire.payload_texts import SpanPayloads

_ROWS_AT_ONCE = 512


async def matching(index: SpanIndex, seen: Seen, project: str, trace_id: str, query: str) -> Bools:
    """Return which spans of a trace, settled and in order, a query selects.

    Raises:
        QueryError: ``query`` is none, or asks of traces.
    """
    predicate, of_traces = parse_spans(query)
    if of_traces != EVERY_TRACE:
        raise query_error(query, 0, "a search inside of a trace asks of its spans alone", length=len(query))
    columns = tuple(dict.fromkeys((*SETTLE_COLUMNS, *RESOLVE_COLUMNS, *sorted(needed_columns(predicate)), "trace_id")))
    rows = await settled_rows(index, seen, project, trace_id, columns)
    scores = await _scores(index, seen, project, trace_id, predicate)
    surely, perhaps = await to_thread.run_sync(_by_light_rows, rows, predicate, scores)
    undecided = np.flatnonzero(perhaps & ~surely)
    for batch in np.array_split(undecided, range(_ROWS_AT_ONCE, len(undecided), _ROWS_AT_ONCE)):
        asked = rows.take(pa.array(batch))
        payload = await index.payload(seen.view, located(asked))
        surely[batch] = await to_thread.run_sync(_by_payload, asked, payload, predicate, scores)
    return surely


async def _scores(index: SpanIndex, seen: Seen, project: str, trace_id: str, predicate: SpanPredicate) -> ScoresByName:
    """Read the trace's scores by the names that are asked for."""
    names = score_names(predicate)
    if not names:
        return ScoresByName({})
    scores = await logs_of(index).scores(seen.view, project, ScoreSelection(trace_ids=(trace_id,)))
    named = {name: scores.filter(pc.equal(scores["name"], pa.scalar(name, pa.string()))) for name in names}
    return ScoresByName({name: EffectiveScores.of(own) for name, own in named.items()})


def _by_light_rows(rows: pa.Table, predicate: SpanPredicate, scores: ScoresByName) -> tuple[Bools, Bools]:
    """Return which rows satisfy a predicate whatever their payloads hold, and which may."""
    surely = matches(rows, predicate, scores=scores, undecided=False)
    return surely, surely | matches(rows, predicate, scores=scores, undecided=True)


def _by_payload(rows: pa.Table, payload: pa.Table, predicate: SpanPredicate, scores: ScoresByName) -> Bools:
    columns = (payload[name].combine_chunks() for name in ("span", "resource"))
    return matches(rows, predicate, payloads=SpanPayloads(*columns), scores=scores)
