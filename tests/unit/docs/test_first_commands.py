"""The two commands that README promises."""

from __future__ import annotations

import re

from tests.unit.docs.pages import TREE, blocks

COMMANDS = [block.code for block in blocks(TREE / "README.md", "sh")]


def test_the_first_command_is_one_line_that_ends_with_the_server_running() -> None:
    """A newcomer who must first read about virtual environments is lost at the door."""
    assert COMMANDS[0].startswith("python3 -m venv ")
    assert COMMANDS[0].endswith("agenttrace up")
    assert "\n" not in COMMANDS[0]


def test_the_second_command_is_the_one_that_continuous_integration_runs() -> None:
    """`.ci/run` takes it from the page, so that what is documented is what is known to work."""
    script = (TREE / ".ci" / "run").read_text(encoding="utf-8")
    assert COMMANDS[1].startswith("python3 -m venv ")
    assert "\n" not in COMMANDS[1]
    found = re.search(r"grep -m1 -E '(.+)' README\.md", script)
    assert found is not None
    lines = (TREE / "README.md").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if re.search(found[1], line)) == COMMANDS[1]
