"""A pytest plugin, loaded with ``-p agenttrace_contracts.plugin``, that writes what adapters support.

``--support-matrix FILE`` writes a Markdown table: a row for every promise of the suites that
ran, a column for every adapter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest

from agenttrace_contracts.base import Contract

_results = pytest.StashKey[defaultdict[str, dict[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--support-matrix``."""
    parser.addoption("--support-matrix", type=Path, help="write what the adapters under contract support, as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty matrix."""
    empty: defaultdict[str, dict[str, str]] = defaultdict(dict)
    config.stash[_results] = empty


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how one promise went."""
    report = yield
    suite = item.getparent(pytest.Class)
    if suite is not None and issubclass(suite.obj, Contract) and (report.when == "call" or not report.passed):
        promise = item.name.removeprefix("test_").replace("_", " ")
        item.config.stash[_results][promise][suite.name.removeprefix("Test")] = _word(report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the matrix, if one was asked for."""
    path: Path | None = session.config.getoption("--support-matrix")
    results = session.config.stash[_results]
    if path is None or not results:
        return
    adapters = sorted({adapter for row in results.values() for adapter in row})
    head = f"| | {' | '.join(adapters)} |\n|---|{'---|' * len(adapters)}\n"
    rows = (f"| {promise} | {' | '.join(row.get(a, '') for a in adapters)} |\n" for promise, row in results.items())
    path.write_text(head + "".join(rows))


def _word(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return f"no: {report.wasxfail}"
    return {"passed": "yes", "failed": "**no**"}.get(report.outcome, "not run")
