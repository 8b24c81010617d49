"""A wheel of this tree, and virtual environments outside it that the wheel is installed into."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.environment import Environment

TREE = Path(__file__).parents[2]
collect_ignore = ["example_backend"]  # a package of its own: test_example_backend installs it and runs its tests


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that a release would upload."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=TREE,
        check=True,
        capture_output=True,
    )
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel without extras: the SDK."""
    return Environment.make(tmp_path_factory.mktemp("bare"), str(wheel))


@pytest.fixture(scope="session")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with what embedding the core needs."""
    return Environment.make(tmp_path_factory.mktemp("core"), f"{wheel}[core]")


@pytest.fixture(scope="session")
def server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with all that one machine needs."""
    return Environment.make(tmp_path_factory.mktemp("server"), f"{wheel}[server]")


@pytest.fixture(scope="session")
def everything(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with the backends of several machines too."""
    return Environment.make(tmp_path_factory.mktemp("everything"), f"{wheel}[all]")
