"""The commands in the documentation are the program's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from agenttrace_server.cli.main import cli
from tests.unit.docs.pages import PAGES, TREE, blocks, name_of

_COMMAND = re.compile(r"(?:^|[\s/;&|$])agenttrace ((?!-)[^#\n|;&`]*)")
_INLINE = re.compile(r"`(agenttrace [^`\n]+)`")
READ_BY_USERS = [page for page in PAGES if "adr" not in page.parts and page.name != "CHANGELOG.md"]


@pytest.mark.parametrize("page", READ_BY_USERS, ids=name_of)
def test_every_command_and_option_that_a_page_shows_exists(page: Path) -> None:
    """Documentation that names an option which is gone costs its reader more than none."""
    wrong = [f"{' '.join(words)}: {fault}" for words in _shown(page) for fault in _faults(words)]
    assert wrong == []


def test_every_command_is_in_the_reference() -> None:
    """A command that no page names is found by nobody."""
    reference = (TREE / "docs" / "api-reference.md").read_text(encoding="utf-8")
    commands = cli.list_commands(click.Context(cli))
    assert [name for name in commands if f"`agenttrace {name}" not in reference] == []


def _shown(page: Path) -> Iterator[list[str]]:
    lines = [line for block in blocks(page, "sh", "console") for line in block.code.splitlines()]
    inline = _INLINE.findall(page.read_text(encoding="utf-8"))
    for line in [*lines, *inline]:
        for found in _COMMAND.findall(line):
            yield shlex.split(found.replace("…", ""))


def _faults(words: list[str]) -> Iterator[str]:
    context = click.Context(cli)
    command: click.Command | None = cli
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        command, words = command.get_command(context, words[0]), words[1:]
    if command is None:
        yield "no such command"
        return
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        option = word.strip("[]").split("=")[0]
        if option.startswith("-") and option not in known | {"-h", "--help"}:
            yield f"no option {option}"
