"""A backend in a package of its own is built, installed outside the tree, found, and proved by the contract."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.environment import Environment

_EXAMPLE = Path(__file__).parent / "example_backend"


@pytest.fixture(scope="module")
def author(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What a backend author has: our wheel with the contract suites, the example's wheel, and its tests."""
    environment = Environment.make(tmp_path_factory.mktemp("author"), f"{wheel}[contracts]")
    source = shutil.copytree(_EXAMPLE, environment.folder / "example")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "built"]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    [built] = (source / "built").glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(environment.folder),
        "install",
        "-q",
        "--no-deps",
        str(built),
    ]
    subprocess.run(install, cwd=source, check=True)
    shutil.rmtree(source / "src")
    return environment


def test_its_contract_tests_pass_outside_the_tree(author: Environment) -> None:
    """Nobody can write a backend if the suites run only in our checkout, or need more than the one fixture."""
    matrix = author.folder / "support.md"
    example = str(author.folder / "example")
    output = author.run("python", "-m", "pytest", "-q", "--rootdir", example, "--support-matrix", str(matrix), example)
    assert "failed" not in output
    assert "skipped" not in output
    rows = matrix.read_text().splitlines()
    assert rows[:5] == ["# Support matrix", "", "## Queue", "", "| | ExampleQueue |"]
    assert len(rows) > 20
    assert all(row.endswith("| yes |") for row in rows[6:])


def test_its_scheme_is_known_where_it_is_installed(author: Environment) -> None:
    """A stranger's adapter is chosen as ours are: by the scheme of a URL."""
    known = author.run("python", "-c", "from agenttrace_core.registry import schemes; print(schemes('queue'))")
    assert "example" in known
