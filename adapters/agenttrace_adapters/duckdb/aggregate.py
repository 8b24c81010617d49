"""Figures of groups of spans: from roll-ups where they hold, from rows where not, put together as if from one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.chosen import Chosen
from agenttrace_adapters.duckdb.fields import Parameters
from agenttrace_adapters.duckdb.grouping import START, Grouping, ordered
from agenttrace_adapters.duckdb.measures import QUANTILES, Figures, answer_type
from agenttrace_adapters.duckdb.predicates import condition
from agenttrace_adapters.duckdb.quantiles import Values, add_lists, quantiles_of
from agenttrace_adapters.duckdb.rollups import SUMMED, Rollup, answerable, asks_for_agents
from agenttrace_adapters.duckdb.row_members import members_of_rows
from agenttrace_adapters.duckdb.runs import TraceRun
from agenttrace_adapters.duckdb.sources import Sources
from agenttrace_adapters.duckdb.spans import SpansTable
from agenttrace_adapters.duckdb.trace_counts import Ledger, Members, codes_of, counted, members_of_cells
from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Aggregation, Measure
from agenttrace_core.query.buckets import bucket_edges, check_bucket
from agenttrace_core.schema.arrays import Int64s, whole
from agenttrace_core.schema.keys import words_of_hex
from agenttrace_core.schema.tables import LIGHT, LOCATION

MAX_GROUPS = 50_000
"""Rows of one answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and what it is asked of.

    Attributes:
        question: what is asked.
        edges: of its buckets.
        spans: rows that are to be read.
        rollups: what need not be.
        narrowed: which traces and rows satisfy what light rows cannot say.
        ledger: where traces start, if that is asked.
    """

    question: Aggregation
    edges: Int64s | None
    spans: SpansTable
    rollups: Sequence[Rollup]
    narrowed: Chosen
    ledger: Ledger | None

    @property
    def figures(self) -> Figures:
        """What the answer is made of."""
        return Figures(measures_of(self.question), direct=not self.rollups)


def measures_of(question: Aggregation) -> tuple[Measure, ...]:
    """Return what is told of a group, and what groups are ordered by."""
    return tuple(dict.fromkeys((*question.measures, question.top_by)))


def asked_of(
    question: Aggregation,
    spans: SpansTable,
    sources: Sources,
    rollups: Sequence[Rollup],
    narrowed: Chosen,
    ledger: Callable[[], Ledger],
) -> Asked:
    """Find out what a question has to be asked of.

    Raises:
        InvalidInputError: there are too many buckets, or one is none.
    """
    runs = [*sources.files, *sources.live]
    edges = _edges(question, [(run.min_start_ns, run.max_start_ns) for run in runs])
    held = _held(question, edges, rollups, spans.touched())
    return Asked(
        question=question,
        edges=edges,
        spans=spans.only(spans.paths.keys() - {rollup.source for rollup in held}),
        rollups=held,
        narrowed=narrowed,
        ledger=ledger() if Measure.TRACES in measures_of(question) else None,
    )


def aggregate(connection: duckdb.DuckDBPyConnection, asked: Asked) -> pa.Table:
    """Answer as ``SpanQueries.aggregate`` does.

    Raises:
        InvalidInputError: the answer would be too long.
    """
    question = asked.question
    if question.top is not None:
        ranked = replace(question, measures=(question.top_by,), bucket=None, top=None, groups=None)
        best = _Work(connection, replace(asked, question=ranked, edges=None)).answer(limit=question.top + 1)
        if len(best) > question.top:
            dims = [best[f"dim{i}"].slice(0, question.top).to_pylist() for i in range(len(question.group_by))]
            question = replace(question, groups=tuple(zip(*dims, strict=True)))
    answer = _Work(connection, replace(asked, question=replace(question, top=None))).answer(limit=MAX_GROUPS + 1)
    if len(answer) > MAX_GROUPS:
        raise InvalidInputError(
            f"the answer has more than {MAX_GROUPS:,} rows: ask for the top of the groups, or for wider buckets"
        )
    return answer


def check(question: Aggregation) -> None:
    """Check what no type says.

    Raises:
        InvalidInputError: groups cannot be sorted by what is asked.
    """
    if question.top_by is Measure.NEWEST:
        raise InvalidInputError("top_by: newest is not to sort by")
    if question.bucket is not None:
        check_bucket(question.bucket)


def _edges(question: Aggregation, bounds: Sequence[tuple[int, int]]) -> Int64s | None:
    if question.bucket is None:
        return None
    during = question.selection.during
    first = min((bound[0] for bound in bounds), default=0)
    last = max((bound[1] for bound in bounds), default=0)
    first = first if during.start_ns is None else max(first, during.start_ns)
    last = last if during.end_ns is None else min(last, during.end_ns - 1)
    return bucket_edges(question.bucket, first, max(first, last))


def _held(question: Aggregation, edges: Int64s | None, rollups: Sequence[Rollup], touched: set[str]) -> list[Rollup]:
    figures = Figures(measures_of(question), direct=False)
    if not answerable(question.selection, question.group_by, figures):
        return []
    about_agents = asks_for_agents(question.selection, question.group_by)
    return [
        rollup
        for rollup in rollups
        if rollup.source not in touched
        and not (about_agents and rollup.open_agents)
        and rollup.holds_for(question.selection.during, edges)
    ]


class _Work:
    """The tables of one answer, in a connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, asked: Asked) -> None:
        self._connection = connection
        self._asked = asked
        self._figures = asked.figures
        self._grouping = Grouping(asked.question.group_by, asked.edges, asked.question.groups)
        self._keys = self._grouping.keys
        self._grouping.register(connection)

    def answer(self, limit: int) -> pa.Table:
        """Return the first rows of the answer."""
        parts = [self._of_rows()]
        if self._asked.rollups:
            parts.append(self._of_cells())
        if Measure.TRACES in self._figures.measures:
            self._connection.register("of_traces", self._traces())
            parts.append("SELECT * FROM of_traces")
        self._put_together(parts)
        return self._told(limit)

    # -- partial figures ----------------------------------------------------------------------

    def _of_rows(self) -> str:
        """Make a table of the partial figures of rows, and return a SELECT of it."""
        parameters = Parameters()
        listed = _list(self._keys, self._figures.of_rows(parameters))
        rows = self._selected_rows(parameters)
        self._make("of_rows", f"SELECT {listed} FROM ({rows}) {_by(self._keys)}", parameters)  # noqa: S608
        return "SELECT * FROM of_rows"

    def _of_cells(self) -> str:
        """Make a table of the cells that are selected, with the group that each is in, and return a SELECT of it."""
        parameters = Parameters()
        cells = pa.concat_tables([rollup.cells.select(SUMMED) for rollup in self._asked.rollups])
        self._connection.register("cells", cells.append_column("cell", pa.array(np.arange(len(cells)))))
        condition_ = condition(self._asked.question.selection.spans, parameters, undecided=False)
        rows = "SELECT *, NULL::VARCHAR AS context_agent, first_ns AS start_ns, NULL::BIGINT AS received_ns FROM cells"
        grouped = self._grouping.grouped(rows, parameters, condition_)
        sums = [name for name in self._figures.names if name in SUMMED]
        statement = f"SELECT {', '.join([*self._keys, 'cell', *sums])} FROM ({grouped})"  # noqa: S608
        self._make("of_cells", statement, parameters)
        return f"SELECT {', '.join([*self._keys, *sums])} FROM of_cells"  # noqa: S608

    def _traces(self) -> pa.Table:
        """Return how many traces each group has, by the keys of the answer."""
        assert self._asked.ledger is not None, "given where traces are asked for"
        keys = [*self._grouping.dims, "other"]
        runs = self._placed_runs()
        parameters = Parameters()
        where = self._where(parameters)
        self._register(parameters)
        placed, by_row = (
            members_of_rows(self._connection, self._asked.spans, runs, self._grouping, where, parameters)
            if runs
            else (None, [])
        )
        parameters = Parameters()
        rows = self._selected_rows(parameters, but=runs, bucketed=False)
        listed = ", ".join(keys)
        of_rows = self._fetch(f"SELECT DISTINCT {listed}, trace_id FROM ({rows})", parameters)  # noqa: S608
        of_cells = self._fetch(f"SELECT {listed}, cell FROM of_cells") if self._asked.rollups else None  # noqa: S608
        told = [table.select(keys) for table in (of_rows, of_cells, placed) if table is not None]
        groups = pa.concat_tables(told)
        group, first = codes_of(groups, keys)
        own, rest = group[: len(of_rows)], group[len(of_rows) :]
        words = words_of_hex(whole(of_rows["trace_id"]), 16)
        before = 0 if of_cells is None else len(of_cells)
        counts = counted(
            self._asked.ledger,
            Members(own, words[:, 0], words[:, 1]),
            [] if of_cells is None else members_of_cells(self._asked.rollups, of_cells["cell"], rest[:before]),
            [replace(members, group=rest[before:][members.group]) for members in by_row],
            self._asked.question.selection.during,
            self._asked.edges,
        )
        by_key = groups.take(pa.array(first)).take(counts["group"]).append_column("traces", counts["traces"])
        return by_key if self._asked.edges is None else by_key.append_column("bucket_ns", counts["bucket_ns"])

    def _placed_runs(self) -> dict[str, list[TraceRun]]:
        """Return files of whose rows the numbers say of what traces they are, and what they have of the ledger."""
        spans = self._asked.spans
        is_joined = spans.names is not None and len(spans.names) > 0
        if (
            self._asked.ledger is None
            or self._asked.narrowed.rows is not None
            or spans.narrowed is not None
            or is_joined
        ):
            return {}
        plain = spans.paths.keys() - spans.touched()
        runs: dict[str, list[TraceRun]] = {}
        for run in self._asked.ledger.runs:
            if run.source in plain:
                runs.setdefault(run.source, []).append(run)
        return runs

    # -- the whole ----------------------------------------------------------------------------

    def _put_together(self, parts: Sequence[str]) -> None:
        union = " UNION ALL BY NAME ".join(f"({part})" for part in parts)
        figures = self._figures.of_parts()
        merged = f"SELECT {_list(self._keys, figures)} FROM ({union}) {_by(self._keys)}"  # noqa: S608
        self._make("merged", f"SELECT *, row_number() OVER () - 1 AS place FROM ({merged})", Parameters())  # noqa: S608
        if self._figures.direct:
            return
        columns = {name: self._quantiles(name) for name in self._figures.lists}
        if columns:
            places = pa.array(np.arange(len(next(iter(columns.values())))))
            self._connection.register("quantiles", pa.table({"place": places, **columns}))
            listed = ", ".join(f"quantiles.{name}" for name in columns)
            self._make("merged", f"SELECT merged.*, {listed} FROM merged JOIN quantiles USING (place)", Parameters())  # noqa: S608

    def _quantiles(self, name: str) -> pa.Array:
        """Return the quantiles of each merged group, of the values that cells and rows have of it."""
        count = self._fetch("SELECT count(*) AS n FROM merged")["n"][0].as_py()
        pieces: list[list[Values]] = [[] for _ in range(count)]
        placed = f"FROM of_rows r JOIN merged m ON {_alike(self._keys, 'r', 'm')} WHERE {name} IS NOT NULL"
        of_rows = self._fetch(f"SELECT place, {name} {placed}")
        lists = whole(of_rows[name])
        add_lists(pieces, of_rows["place"].to_numpy(), lists.values.to_numpy(), lists.offsets.to_numpy())
        placed = f"FROM of_cells c JOIN merged m ON {_alike(self._keys, 'c', 'm')} ORDER BY cell"
        of_cells = self._fetch(f"SELECT place, cell {placed}")
        place, cell = of_cells["place"].to_numpy(), of_cells["cell"].to_numpy()
        begun = 0
        for rollup in self._asked.rollups:
            values, offsets = rollup.lists(name)
            first, stop = cell.searchsorted([begun, begun + len(rollup.cells)])
            add_lists(pieces, place[first:stop], values, offsets, cell[first:stop] - begun)
            begun += len(rollup.cells)
        return pa.array(quantiles_of(pieces, QUANTILES, threads=2), pa.list_(pa.float64()))

    def _told(self, limit: int) -> pa.Table:
        question, keys = self._asked.question, self._keys
        order = ordered(self._grouping.dims, question.top_by, bucketed=self._asked.edges is not None)
        statement = f"SELECT {_list(keys, self._figures.told())} FROM merged {order} LIMIT {limit}"  # noqa: S608
        types: dict[str, pa.DataType] = {"bucket_ns": pa.int64(), "other": pa.bool_()}
        schema = [pa.field(key, types.get(key, pa.string())) for key in keys]
        schema += [pa.field(m.value, answer_type(m)) for m in question.measures]
        return self._fetch(statement).select([*keys, *question.measures]).cast(pa.schema(schema))

    def _selected_rows(self, parameters: Parameters, *, but: Collection[str] = (), bucketed: bool = True) -> str:
        located = LOCATION.names if self._asked.narrowed.rows is not None else ()
        spans = self._asked.spans
        spans = spans.only(spans.paths.keys() - set(but)) if but else spans
        rows = spans.select(self._connection, (*LIGHT.names, *located))
        return self._grouping.grouped(rows, parameters, self._where(parameters), bucketed=bucketed)

    def _where(self, parameters: Parameters) -> str:
        selection = self._asked.question.selection
        narrowed = self._asked.narrowed
        conditions: list[str] = []
        if narrowed.rows is None:
            conditions.append(condition(selection.spans, parameters, undecided=False))
        else:
            self._connection.register("chosen_rows", narrowed.rows)
            conditions.append("(source, row) IN (SELECT (source, row) FROM chosen_rows)")
        if narrowed.traces is not None:
            self._connection.register("chosen_traces", narrowed.traces)
            conditions.append("trace_id IN (SELECT trace_id FROM chosen_traces)")
        if selection.during.start_ns is not None:
            conditions.append(f"{START} >= {parameters.bind(selection.during.start_ns)}")
        if selection.during.end_ns is not None:
            conditions.append(f"{START} < {parameters.bind(selection.during.end_ns)}")
        return " AND ".join(f"({part})" for part in conditions)

    def _make(self, name: str, statement: str, parameters: Parameters) -> None:
        self._register(parameters)
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {statement}", parameters.values)

    def _fetch(self, statement: str, parameters: Parameters | None = None) -> pa.Table:
        given = parameters or Parameters()
        self._register(given)
        answer: pa.Table = self._connection.sql(statement, params=given.values).to_arrow_table()
        return answer

    def _register(self, parameters: Parameters) -> None:
        for name, table in parameters.tables.items():
            self._connection.register(name, table)


def _by(keys: Sequence[str]) -> str:
    return f"GROUP BY {', '.join(keys)}"


def _alike(keys: Sequence[str], left: str, right: str) -> str:
    return " AND ".join(f"{left}.{key} IS NOT DISTINCT FROM {right}.{key}" for key in keys)


def _list(keys: Sequence[str], expressions: Mapping[str, str]) -> str:
    return ", ".join([*keys, *(f"{sql} AS {name}" for name, sql in expressions.items())])
