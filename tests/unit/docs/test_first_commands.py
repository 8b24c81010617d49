"""The two commands that README promises."""

from __future__ import annotations

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
    assert COMMANDS[1].endswith("/pytest")
    assert "\n" not in COMMANDS[1]
    assert "grep -m1 -E '^python3 -m venv .*/pytest$' README.md" in script
