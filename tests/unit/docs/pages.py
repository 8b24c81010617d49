"""The pages that the project publishes, and the blocks of code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).parents[3]
PAGES = sorted([*TREE.glob("*.md"), *(TREE / "docs").rglob("*.md")])

_FENCE = re.compile(r"(?P<before>[^\n]*)\n+```(?P<language>[\w+-]+)\n(?P<code>.*?)\n```", re.DOTALL)
_NOT_RUN = "<!-- not run:"
"""Stands before a block that is no program, and says why."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    code: str
    runs: bool


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """Iterate over a page's blocks in some languages, in order."""
    text = "\n\n" + page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        if found["language"] in languages:
            line = text.count("\n", 0, found.start("code")) - 1
            yield Block(page, line, found["language"], found["code"], not found["before"].startswith(_NOT_RUN))


def name_of(page: Path) -> str:
    """Return a page's path within the tree."""
    return page.relative_to(TREE).as_posix()
