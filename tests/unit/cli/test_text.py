"""Text from strangers on a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agenttrace_server.cli.terminal import cell
from agenttrace_server.cli.text import duration, escaped, plain
from agenttrace_server.cli.traces import trace_table


@given(st.text())
def test_nothing_that_a_terminal_obeys_comes_through(text: str) -> None:
    """Lost: a span's name clears the screen, changes the title or hides what follows."""
    shown = plain(text)
    assert all(char.isprintable() or char == "\u200d" for char in shown)
    assert len(shown) <= 400


@given(st.text())
def test_json_for_a_terminal_says_the_same_without_what_that_obeys(text: str) -> None:
    """Lost: what is exported is not shown as it was sent, or it clears the screen."""
    sent = text.encode("utf-8", "replace").decode()
    shown = escaped(json.dumps({sent: sent}, ensure_ascii=False).encode()).decode()
    assert json.loads(shown) == {sent: sent}
    assert all(char.isprintable() or char == "\u200d" for char in shown)


def test_only_a_terminal_gets_json_with_escapes() -> None:
    """Lost: an export that is piped into a file is no copy, or one that is looked at changes the screen."""
    body = '{"name": "\x9b2J\u202e\x7f é"}'
    program = "import sys; from agenttrace_server.cli.terminal import write_json; write_json(sys.argv[1].encode())"
    command = [sys.executable, "-c", program, body]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == body.encode() + b"\n"
    master, slave = pty.openpty()
    subprocess.run(command, stdout=slave, check=True)
    os.close(slave)
    assert os.read(master, 1000).decode().strip() == r'{"name": "\u009b2J\u202e\u007f é"}'
    os.close(master)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;pwned\x07", r"\x1b[2J\x1b]0;pwned\x07"),
        ("a\nb\r\tc", "a⏎b␍ c"),
        ("abc\u202etxt.exe", r"abc\u202etxt.exe"),
        ("\ud800", r"\ud800"),
        ("👩\u200d🔬 déjà 日本", "👩\u200d🔬 déjà 日本"),
    ],
)
def test_what_is_hidden_becomes_visible(text: str, shown: str) -> None:
    """Lost: a name that looks like another one."""
    assert plain(text) == shown


def test_markup_is_text() -> None:
    """Lost: a span's name makes a link, or breaks the table by unbalanced brackets."""
    screen = io.StringIO()
    Console(width=80, file=screen).print(cell("[red]x[/bold] [link=http://evil]y"))
    assert "[red]x[/bold] [link=http://evil]y" in screen.getvalue()


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [(None, "-"), (0, "0 µs"), (-5_000_000, "-5 ms"), (1_240_000_000, "1.24 s"), (10**13, "2.8 h")],
)
def test_durations_read_well(nanoseconds: int | None, shown: str) -> None:
    """Lost: a missing or negative duration ends the listing."""
    assert duration(nanoseconds) == shown


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_trace_takes_one_line_of_the_list_on_any_terminal(width: int) -> None:
    """Lost: a list that can be read where most people look: in a terminal of 80 columns."""
    item = {
        "trace_id": "f" * 32, "name": "invoke_agent the travel agent of the shop", "service": "travel", "spans": 12,
        "start_ns": 1_795_485_600_000_000_000, "duration_ns": 2_000_000_000, "errors": 1, "input_tokens": 23_578,
    }  # fmt: skip
    screen = Console(width=width, file=io.StringIO())
    screen.print(trace_table([item], width))
    assert isinstance(screen.file, io.StringIO)
    _, line = screen.file.getvalue().splitlines()
    assert "ffffffffffff" in line
    assert "2.00 s" in line
    assert "23,578" in line
