"""Reads the numbered ``NNNN_name.sql`` files beside this module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

CREATE_MIGRATIONS = (
    "CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_ns BIGINT NOT NULL)"
)
"""Makes the table that says which migrations were applied, before any of them is."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: what brings format ``number - 1`` to ``number``."""

    number: int
    name: str
    statements: tuple[str, ...]


@cache
def migrations() -> Sequence[Migration]:
    """Return all migrations, from 1 on, in order."""
    found = sorted(entry.name for entry in files(__name__).iterdir() if entry.name.endswith(".sql"))
    return [_parse(name) for name in found]


def _parse(file_name: str) -> Migration:
    number, _, name = file_name.removesuffix(".sql").partition("_")
    text = files(__name__).joinpath(file_name).read_text("utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    statements = tuple(s.strip() for s in code.split(";") if s.strip())
    return Migration(int(number), name, statements)


FORMAT = migrations()[-1].number
"""The format that this release writes."""
