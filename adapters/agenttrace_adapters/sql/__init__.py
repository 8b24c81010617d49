"""The schema that all SQL metadata adapters share, as numbered migrations in SQL that both SQLite and PostgreSQL run.

Types are those that either takes: TEXT, BIGINT, and BYTEA (which SQLite stores as the bytes
that it is given). Times are nanoseconds since the epoch. No driver is imported here.
"""

from agenttrace_adapters.sql.migrations import FORMAT, Migration, migrations

__all__ = ["FORMAT", "Migration", "migrations"]
