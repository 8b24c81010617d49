"""The catalog in SQL, written once for every database that an adapter is made for.

What lives here: the schema as numbered migrations, and every change and reading as a generator
that yields statements and is sent their rows (``statements``). What never does: a driver, a
connection, a thread or an await; an adapter brings those, and runs the generators within its
transactions.

The dialect is what SQLite and PostgreSQL both take. Types are TEXT, BIGINT, and BYTEA (which SQLite
stores as the bytes that it is given). Times are nanoseconds since the epoch.
"""

from agenttrace_adapters.sql.catalog import SqlCatalog
from agenttrace_adapters.sql.letters import LetterBounds
from agenttrace_adapters.sql.migrations import CREATE_MIGRATIONS, FORMAT, Migration, migrations
from agenttrace_adapters.sql.statements import NOW, Many, Now, Query, Row, Rows, Statement, Steps

__all__ = [
    "CREATE_MIGRATIONS", "FORMAT", "NOW", "LetterBounds", "Many", "Migration", "Now", "Query", "Row", "Rows",
    "SqlCatalog", "Statement", "Steps", "migrations",
]  # fmt: skip
