"""Catalogs of both databases, by one recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from agenttrace_adapters.postgres import PostgresCatalog
from agenttrace_adapters.postgres.options import parse
from agenttrace_adapters.sql import LetterBounds, SqlCatalog
from agenttrace_adapters.sqlite import SqliteCatalog


class MakeCatalog(Protocol):
    """Makes a catalog, not opened, over the test's one store."""

    def __call__(
        self, *, clock: Callable[[], int] | None = None, bodies: int = 200_000, bounds: LetterBounds | None = None
    ) -> SqlCatalog: ...


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A value of ``metadata``: nothing is there yet."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/catalog.sqlite"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def make_catalog(catalog_url: str) -> MakeCatalog:
    """Instances of one store."""

    def make(
        *, clock: Callable[[], int] | None = None, bodies: int = 200_000, bounds: LetterBounds | None = None
    ) -> SqlCatalog:
        if catalog_url.startswith("postgresql:"):
            return PostgresCatalog(parse(catalog_url), clock=clock, bodies=bodies, letter_bounds=bounds)
        path = catalog_url.removeprefix("sqlite:")
        if clock is None:
            return SqliteCatalog(path, bodies=bodies, letter_bounds=bounds)
        return SqliteCatalog(path, clock=clock, bodies=bodies, letter_bounds=bounds)

    return make
