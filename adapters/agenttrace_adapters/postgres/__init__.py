"""Metadata and events in PostgreSQL, shared by all processes of all machines.

What lives here: the only place that imports asyncpg. What never does: the catalog's SQL, which is
written once for all databases in ``agenttrace_adapters.sql``.
"""

from agenttrace_adapters.postgres.catalog import PostgresCatalog
from agenttrace_adapters.postgres.events import PostgresEvents

__all__ = ["PostgresCatalog", "PostgresEvents"]
