"""The ledgers of projects, looked through for traces that stand in several places, and tables of them for DuckDB."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.sources import Sources
from agenttrace_adapters.duckdb.trace_counts import Ledger, through
from agenttrace_core.schema.arrays import numbers
from agenttrace_core.schema.tables import TRACES

_LEDGERS = 3
"""Projects, beside the one that is asked, whose ledgers are looked through and not forgotten yet."""


class Ledgers:
    """Remembers which traces stand in several places of a project's files."""

    def __init__(self) -> None:
        self._known: dict[str, Ledger] = {}

    def of(self, project: str, sources: Sources) -> Ledger:
        """Return a project's ledger. Its files are looked through again only when others have taken their place."""
        known = self._known.get(project)
        files = [id(run) for run in sources.files]
        if known is None or [id(run) for run in known.runs] != files:
            known = Ledger.of(sources.files)
            self._known = {**dict(list(self._known.items())[-_LEDGERS:]), project: known}
        return known.beside(sources.live)


def ledger_table(ledger: Ledger, columns: Sequence[str]) -> pa.Table:
    """Return columns of all rows of a ledger, copying none, with two more.

    ``scattered`` is whether other rows may be of the same trace: of the others, each row is a trace. ``place`` is
    the row's number.
    """
    tables = [run.sums.select(columns) for run in ledger.runs]
    scattered = [through(ledger.repeated, numbers(run.sums, "trace_hi")) for run in ledger.runs]
    table = pa.concat_tables([TRACES.empty_table().select(columns), *tables])
    table = table.append_column("scattered", pa.array(np.concatenate([np.zeros(0, np.bool_), *scattered])))
    return table.append_column("place", pa.array(np.arange(len(table))))
