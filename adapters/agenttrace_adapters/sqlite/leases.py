"""Leases in SQL, each call to be run within one transaction."""

from __future__ import annotations

from sqlite3 import Connection


def take(db: Connection, name: str, holder: str, until_ns: int, now_ns: int) -> bool:
    """Take or renew a lease. False if another has it."""
    taken = db.execute(
        "INSERT INTO leases (name, holder, until_ns) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE"
        " SET holder = excluded.holder, until_ns = excluded.until_ns"
        " WHERE leases.holder = excluded.holder OR leases.until_ns <= ?",
        (name, holder, until_ns, now_ns),
    )
    return taken.rowcount == 1


def release(db: Connection, name: str, holder: str) -> None:
    """Give up a lease."""
    db.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))


def held(db: Connection, prefix: str, now_ns: int) -> dict[str, str]:
    """Return who holds what."""
    found = db.execute("SELECT name, holder FROM leases WHERE until_ns > ? ORDER BY name", (now_ns,))
    return {name: holder for name, holder in found if name.startswith(prefix)}
