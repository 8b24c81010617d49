"""Sessions and users by the ledger of traces: the newest without looking at the rest, others by adding all up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from agenttrace_adapters.duckdb.ledgers import ledger_table
from agenttrace_adapters.duckdb.runs import TraceRun, newest
from agenttrace_adapters.duckdb.sources import Sources
from agenttrace_adapters.duckdb.trace_counts import Ledger, through
from agenttrace_core.model.algebra import Interval, Measure, Ranking
from agenttrace_core.model.trace import TracePosition
from agenttrace_core.query.owners import OWNED, OWNERS, owners_of, within
from agenttrace_core.query.ranking import page_of
from agenttrace_core.query.sums import merge_sums, newest_first
from agenttrace_core.schema.arrays import UInt64s, numbers, whole
from agenttrace_core.schema.tables import TRACES
from agenttrace_core.schema.traces import OWNED as RANKS

_Numbers = np.ndarray[Any, np.dtype[Any]]

_FIRST_TRACES = 4
_GROWS = 4


@dataclass(frozen=True, slots=True)
class NamedRows:
    """Which rows of a run name whom: ``rows`` in the order of the ``hashes`` of the names, which are ascending."""

    hashes: UInt64s
    rows: _Numbers

    @classmethod
    def of(cls, run: TraceRun, column: str) -> NamedRows:
        """Sort a run's rows by whom they name."""
        encoded = whole(run.sums[column]).dictionary_encode()
        codes = np.asarray(encoded.indices.fill_null(-1)).astype(np.int64)
        named = np.flatnonzero(codes >= 0)
        hashes = hashes_of(encoded.dictionary)[codes[named]]
        order = np.argsort(hashes, kind="stable")
        return cls(hashes[order], named[order].astype(np.int32))

    def of_names(self, hashes: UInt64s) -> _Numbers:
        """Return the rows that name one of those whose hashes are given, and hardly any other."""
        left, right = self.hashes.searchsorted(hashes), self.hashes.searchsorted(hashes, side="right")
        counts = right - left
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(left, counts)
        rows: _Numbers = self.rows[place]
        return rows


def hashes_of(names: pa.Array) -> UInt64s:
    """Return a number for each name."""
    return np.array([xxhash.xxh3_64_intdigest(name) for name in names.cast(pa.binary()).to_pylist()], np.uint64)


class Owners:
    """Who is named in a ledger, by run; what is looked up once is kept for as long as the run is."""

    def __init__(self) -> None:
        self._named: dict[tuple[int, str], tuple[TraceRun, NamedRows]] = {}

    def forget(self, runs: Sequence[TraceRun]) -> None:
        """Forget all runs but these."""
        kept = {id(run) for run in runs}
        self._named = {key: held for key, held in self._named.items() if key[0] in kept}

    def owned(self, ledger: Ledger, column: str, names: pa.Array) -> pa.Table:
        """Return the traces of some owners: ``TRACES``, one row each. ``ledger`` has corrections too."""
        hashes = np.unique(hashes_of(names))
        known, shared = [TRACES.empty_table()], [(np.zeros(0, np.uint64), np.zeros(0, np.uint64))]
        for run in ledger.runs:
            rows = self._of(run, column).of_names(hashes)
            if len(rows):
                hi, lo = numbers(run.sums, "trace_hi")[rows], numbers(run.sums, "trace_lo")[rows]
                others = through(ledger.repeated, hi)
                shared.append((hi[others], lo[others]))
                known.append(run.sums.take(pa.array(rows[~others])))
        # Of most traces these rows are all there is. Of others, more is added up.
        ids = np.unique(np.stack([np.concatenate([pair[i] for pair in shared]) for i in range(2)], axis=1), axis=0)
        hi, lo = np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(ids[:, 1])
        sums = merge_sums([*known, *(more for run in ledger.runs if (more := run.select(hi, lo)) is not None)])
        # A run may name another than the ledger as a whole does.
        return sums.filter(pc.is_in(sums[column], value_set=names))

    def newest(self, sources: Sources, ledger: Ledger, column: str, ranking: Ranking) -> pa.Table:
        """Return a page of owners, those of the newest traces first.

        The owners of the newest traces are those whose traces are newest. Once enough of them have traces above
        the oldest that was looked at, no other can come before them.
        """
        during = ranking.selection.during
        most = _most(ranking)
        count = _FIRST_TRACES * ranking.limit
        while True:
            traces = newest(sources.found_in, sources.corrections, count, most)
            is_all = len(traces) < count
            recent = within(traces, Interval(during.start_ns, None))
            names = recent[column].unique().drop_null()
            if len(names) < ranking.limit and len(recent) == count:
                count *= _GROWS
                continue
            found = owners_of(within(self.owned(ledger, column, names), during), column)
            if not is_all and len(recent) == len(traces):
                last = pa.scalar(int(numbers(traces, "start_ns")[-1]), pa.int64())
                found = found.filter(pc.greater(found["last_ns"], last))
            page = page_of(found, ranking)
            if len(page) == ranking.limit or is_all or len(recent) < len(traces):
                return page
            count *= _GROWS

    def _of(self, run: TraceRun, column: str) -> NamedRows:
        known = self._named.get((id(run), column))
        if known is None:
            known = self._named[id(run), column] = run, NamedRows.of(run, column)
        return known[1]


def is_newest_first(ranking: Ranking) -> bool:
    """Say whether a page can be found from the newest traces down."""
    return ranking.order is Measure.LAST_NS and ranking.descending


def all_owners(connection: duckdb.DuckDBPyConnection, ledger: Ledger, column: str, ranking: Ranking) -> pa.Table:
    """Add the whole ledger, corrections too, up by owner, and return a page: ``OWNERS``."""
    rank = RANKS[column]
    summed = ("spans", "errors", "input_tokens", "output_tokens", "cost_pico_usd", "unpriced")
    columns = ["trace_hi", "trace_lo", "start_ns", *summed, rank, column]
    connection.register("ledger", ledger_table(ledger, columns))
    during = ranking.selection.during
    bounds = [f"start >= {during.start_ns:d}"] if during.start_ns is not None else []
    bounds += [f"start < {during.end_ns:d}"] if during.end_ns is not None else []
    added = ", ".join(f"sum({name}) AS {name}" for name in summed)
    # As in the merging of sums: that of the least rank counts, and among equals the last table's.
    said = f"arg_min({column}, {{'a': {rank}, 'b': -place}})"
    statement = f"""
        WITH traces AS (
            SELECT {", ".join(summed)}, start_ns AS start, {column} AS owner
            FROM ledger WHERE NOT scattered AND spans > 0
            UNION ALL
            SELECT {added}, min(start_ns) FILTER (spans > 0) AS start,
                   {said} FILTER ({column} IS NOT NULL AND ledger.spans > 0) AS owner
            FROM ledger WHERE scattered GROUP BY trace_hi, trace_lo HAVING sum(ledger.spans) > 0
        )
        SELECT owner AS dim0, sum(spans)::BIGINT AS spans, count(*) AS traces, sum(errors)::BIGINT AS errors,
               sum(input_tokens)::BIGINT AS input_tokens, sum(output_tokens)::BIGINT AS output_tokens,
               sum(cost_pico_usd)::HUGEINT AS cost, sum(unpriced)::BIGINT AS unpriced,
               min(start) AS first_ns, max(start) AS last_ns
        FROM traces WHERE {" AND ".join(["owner IS NOT NULL", *bounds])} GROUP BY owner
        {_page(ranking)}
    """  # noqa: S608 - names and numbers of ours
    given = {} if ranking.after is None else {"after": str(ranking.after[1])}
    found: pa.Table = connection.sql(statement, params=given).to_arrow_table()
    costs = pa.array([value.scaleb(-12) for value in found["cost"].cast(pa.decimal128(38, 0)).to_pylist()])
    found = found.append_column("cost_usd", costs.cast(pa.decimal128(38, 12)))
    return found.select(["dim0", *OWNED]).cast(OWNERS)


def _page(ranking: Ranking) -> str:
    value = "cost" if ranking.order is Measure.COST_USD else ranking.order.value
    direction, beyond = ("DESC", "<") if ranking.descending else ("ASC", ">")
    after = ""
    if ranking.after is not None:
        place = int(ranking.after[0] or 0)
        after = f"HAVING {value} {beyond} {place} OR ({value} = {place} AND dim0 > $after)"
    return f"{after} ORDER BY {value} {direction}, dim0 LIMIT {ranking.limit:d}"


def _most(ranking: Ranking) -> TracePosition | None:
    """Return the place in the list of traces below which a page's traces are, None if it is its beginning."""
    ends = [] if ranking.selection.during.end_ns is None else [ranking.selection.during.end_ns]
    if ranking.after is not None:
        # Those of the same moment may still be owners that come after.
        ends.append(int(ranking.after[0] or 0) + 1)
    return TracePosition(min(ends), "") if ends else None


def newest_of(sums: pa.Table) -> pa.Table:
    """Put traces in order, newest first."""
    return sums.take(pa.array(newest_first(sums)))
