"""``agenttrace normalise`` over a data folder."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from agenttrace_server.cli.main import EXIT_USAGE, run
from tests.faults.deployment import append, write_all
from tests.faults.spans import SpanSpec, now_ns, request


def test_a_folder_of_which_all_is_new_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = now_ns()
    body = request(SpanSpec(b"t" * 16, b"a" * 8, begun, begun + 9, tokens=1, operation="chat"))
    anyio.run(append, tmp_path, body)
    anyio.run(write_all, tmp_path)
    assert run(["normalise", "--data", str(tmp_path), "--since", "7d"]) == 0
    assert "0 spans in 0 files are by rules of version" in capsys.readouterr().out


def test_a_time_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["normalise", "--data", str(tmp_path), "--since", "yesterday"]) == EXIT_USAGE
    assert "--since: 'yesterday' is neither an age such as 7d nor a time" in capsys.readouterr().err
