"""The console on which commands write."""

from __future__ import annotations

import shutil
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agenttrace_server.cli.text import escaped, plain

_WIDE = 240
_WHOLE = ("trace", "id", "start", "received")
"""Columns that are no use in parts."""


def console(*, stderr: bool = False) -> Console:
    """Return a console; wide where the output is not a terminal, because grep reads it then."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made = Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=_WIDE)
    return made


def write_json(body: bytes) -> None:
    """Write a JSON text to standard output: as it is, but for a terminal, which would obey what is in it."""
    sys.stdout.buffer.write((escaped(body) if sys.stdout.isatty() else body) + b"\n")


def program() -> str:
    """Return what to type for this program: its name where the shell finds it, else the path by which it was called."""
    called = sys.argv[0]
    return called if called.endswith("/agenttrace") and not shutil.which("agenttrace") else "agenttrace"


def table(*headings: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table without frames; the columns in ``right`` are aligned to the right, and never wrapped."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        no_wrap = heading in (*_WHOLE, *right)
        made.add_column(heading, justify="right" if heading in right else "left", no_wrap=no_wrap)
    return made


def cell(text: object, style: str = "", limit: int = 400) -> Text:
    """Return text from a stranger as a table cell: neutral, on one line, and no markup."""
    return Text(plain(text, limit), style=style, overflow="ellipsis", no_wrap=False)
