"""Metadata in one SQLite file, shared by all processes of a machine.

What lives here: the only place that imports sqlite3. What never does: decisions about which
files should be written or merged; those are the services'.
"""

from agenttrace_adapters.sqlite.catalog import SqliteCatalog

__all__ = ["SqliteCatalog"]
