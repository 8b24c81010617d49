"""A pytest plugin, loaded with ``-p agenttrace_contracts.plugin``, that writes what adapters support.

``--support-matrix FILE`` writes Markdown: a table for every suite that ran, in it a row for every promise, and a
column for every adapter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from agenttrace_contracts.base import Contract

Table: TypeAlias = defaultdict[str, dict[str, str]]
"""What became of each promise, by adapter."""

_results = pytest.StashKey[defaultdict[str, Table]]()

_YES, _NOT_RUN, _NO = "yes", "not run", "**no**"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--support-matrix``."""
    parser.addoption("--support-matrix", type=Path, help="write what the adapters under contract support, as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty matrix."""
    empty: defaultdict[str, Table] = defaultdict(lambda: defaultdict(dict))
    config.stash[_results] = empty


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how one promise went."""
    report = yield
    suite = item.getparent(pytest.Class)
    if suite is not None and issubclass(suite.obj, Contract) and (report.when == "call" or not report.passed):
        # A promise may be tried with several values: it is kept if it is with all.
        promise = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
        of_promise = item.config.stash[_results][_title(suite.obj)][promise]
        adapter = suite.name.removeprefix("Test")
        of_promise[adapter] = max(_word(report), of_promise.get(adapter, _YES), key=_gravity)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the matrix, if one was asked for."""
    path: Path | None = session.config.getoption("--support-matrix")
    results = session.config.stash[_results]
    if path is not None and results:
        tables = "".join(f"\n## {title}\n\n{_markdown(table)}" for title, table in sorted(results.items()))
        path.write_text("# Support matrix\n" + tables, encoding="utf-8")


def _title(suite: type[object]) -> str:
    """Return the name of the suite that an author's class is of, whatever that is made of itself."""
    mro = [c for c in suite.__mro__ if issubclass(c, Contract)]
    return next((c for c in mro if c.__module__ != suite.__module__), suite).__name__.removesuffix("Contract")


def _markdown(table: Mapping[str, Mapping[str, str]]) -> str:
    adapters = sorted({adapter for row in table.values() for adapter in row})
    head = f"| | {' | '.join(adapters)} |\n|---|{'---|' * len(adapters)}\n"
    return head + "".join(
        f"| {promise} | {' | '.join(row.get(adapter, '') for adapter in adapters)} |\n"
        for promise, row in table.items()
    )


def _word(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return f"no: {report.wasxfail}"
    return {"passed": _YES, "failed": _NO}.get(report.outcome, _NOT_RUN)


def _gravity(word: str) -> int:
    return {_YES: 0, _NOT_RUN: 1, _NO: 3}.get(word, 2)
