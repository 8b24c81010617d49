"""What a release contains."""

from __future__ import annotations

import zipfile
from pathlib import Path

PACKAGES = {"agenttrace", "agenttrace_adapters", "agenttrace_contracts", "agenttrace_core", "agenttrace_server"}


def test_the_wheel_holds_the_five_packages_and_nothing_else(wheel: Path) -> None:
    """A package left out breaks every install; tests or data folders let in end up in strangers' site-packages."""
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_every_package_says_that_it_is_typed(wheel: Path) -> None:
    """Without py.typed, type checkers ignore all our annotations in the code of those who use us."""
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(zipfile.ZipFile(wheel).namelist())


def test_every_module_of_the_tree_is_in_the_wheel(wheel: Path) -> None:
    """An editable install hides a module that packaging leaves out; whoever installs the release would miss it."""
    tree = Path(__file__).parents[2]
    folders = [tree / "core", tree / "adapters", tree / "entrypoints", tree / "sdk", tree / "contracts"]
    modules = {
        path.relative_to(folder).as_posix()
        for folder in folders
        for path in folder.glob("agenttrace*/**/*.py")
        if "node_modules" not in path.parts
    }
    assert modules <= set(zipfile.ZipFile(wheel).namelist())


def test_the_licence_travels_along(wheel: Path) -> None:
    """Distributing without it breaks the licence."""
    assert any(name.endswith("licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())
