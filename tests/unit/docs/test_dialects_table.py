"""The table of attributes in the documentation is that of the rules."""

from __future__ import annotations

from agenttrace_core.normalise.rules import VERSION
from tests.unit.docs.dialects_table import HEAD, dialects_table
from tests.unit.docs.pages import TREE

PAGE = (TREE / "docs" / "dialects.md").read_text(encoding="utf-8")


def test_the_page_names_every_attribute_that_the_rules_read_and_no_other() -> None:
    """An attribute that no page names is not found by who wonders why a field is empty."""
    there = PAGE[PAGE.index(HEAD) :].split("\n\n")[0]
    assert there.splitlines() == dialects_table().splitlines()


def test_the_page_is_of_the_rules_version() -> None:
    assert f"rules of version {VERSION}" in PAGE
