"""The table of settings in the documentation is the program's."""

from __future__ import annotations

from tests.unit.docs.pages import TREE
from tests.unit.docs.settings_table import HEAD, settings_table

OPERATIONS = (TREE / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_table_names_every_setting_with_its_default_and_no_other() -> None:
    """A setting that no page names cannot be used; a default that has changed misleads an operator."""
    there = OPERATIONS[OPERATIONS.index(HEAD) :].split("\n\n")[0]
    assert there.splitlines() == settings_table().splitlines()
