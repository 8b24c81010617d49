"""Leases in SQL, each call to be run within one transaction."""

from __future__ import annotations

from agenttrace_adapters.sql.statements import NOW, Query, Steps


def take(name: str, holder: str, ttl_ns: int) -> Steps[bool]:
    """Take or renew a lease. False if another has it."""
    ((now_ns,),) = yield NOW
    taken = yield Query(
        "INSERT INTO leases (name, holder, until_ns) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE"
        " SET holder = excluded.holder, until_ns = excluded.until_ns"
        " WHERE leases.holder = excluded.holder OR leases.until_ns <= ? RETURNING name",
        name, holder, now_ns + ttl_ns, now_ns,
    )  # fmt: skip
    return bool(taken)


def release(name: str, holder: str) -> Steps[None]:
    """Give up a lease."""
    yield Query("DELETE FROM leases WHERE name = ? AND holder = ?", name, holder)


def held(prefix: str) -> Steps[dict[str, str]]:
    """Return who holds what."""
    ((now_ns,),) = yield NOW
    found = yield Query("SELECT name, holder FROM leases WHERE until_ns > ? ORDER BY name", now_ns)
    return {name: holder for name, holder in found if name.startswith(prefix)}
