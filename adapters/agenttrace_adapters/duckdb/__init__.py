"""The span index: point reads over mapped and cached files, and DuckDB for SQL.

What lives here: everything that opens the objects of segment files for reading. What never
does: writing, and the settling of versions, which is the core's.

Measured, and the reason for the split: DuckDB answers a question over many rows sooner than
anything else here could, but spends milliseconds planning one over eight. Looking a trace up is
a binary search in mapped ids (numpy) and the decoding of one row group (pyarrow), which together
take less time than DuckDB's planner.
"""

from agenttrace_adapters.duckdb.index import DuckDBIndex

__all__ = ["DuckDBIndex"]
