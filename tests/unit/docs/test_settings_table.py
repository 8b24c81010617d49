"""The table of settings in the documentation is the program's."""

from __future__ import annotations

import re

from agenttrace_server.settings_sources import known_keys, variable_of
from tests.unit.docs.pages import TREE

OPERATIONS = (TREE / "docs" / "operations.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([a-z_.]+)` \| `(AGENTTRACE_[A-Z_]+)` \|", OPERATIONS, re.MULTILINE))


def test_every_setting_is_in_the_table_and_no_other() -> None:
    """A setting that is not there cannot be used, and one that is gone refuses the start."""
    assert {key: variable_of(key) for key, _ in known_keys()} == ROWS
