"""Figures as rows with the names that callers know."""

from __future__ import annotations

from agenttrace_core.errors import LimitExceededError
from agenttrace_core.services.analytics import Analysis
from agenttrace_core.services.score_figures import ScoreFigures
from agenttrace_server.query.formats import Rows


def rows_of(told: Analysis | ScoreFigures, most: int) -> Rows:
    """Return a row a group: ``bucket``, the dimensions by name, ``other``, the measures, and those before.

    Raises:
        LimitExceededError: there are more than ``most`` rows.
    """
    if len(told.rows) > most:
        raise LimitExceededError(
            f"the answer has {len(told.rows):,} rows, and at most {most:,} are allowed (query.max_rows): "
            "ask for fewer groups, a longer bucket or a shorter time"
        )
    names = ["bucket" if name == "bucket_ns" else name for name in told.rows.column_names]
    return Rows(told.rows.rename_columns(names), "rows", told.lag, paged=False)
