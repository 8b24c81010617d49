"""The command line without a server: quick, and clear about what is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from agenttrace_server.cli.main import _COMMANDS, run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, with no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AGENTTRACE_")]:
        monkeypatch.delenv(name)


def test_help_imports_nothing_heavy() -> None:
    """Lost: `agenttrace --help` takes a second."""
    program = (
        "import sys; from agenttrace_server.cli.main import run; run(['--help']);"
        "heavy = {'duckdb', 'pyarrow', 'numpy', 'grpc', 'fastapi', 'httpx', 'pydantic', 'rich'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "agenttrace up" in ended.stdout
    assert time.monotonic() - began < 2  # a busy machine's worth of the 0.3 s that it may take


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lost: a command in the list that cannot be loaded."""
    assert run([command, "--help"]) == 0
    assert "Usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trcaes"], 2, "did you mean trace"),
        (["traces"], 2, "no server runs on"),
        (["traces", "--api", "localhost:8000"], 2, "http://127.0.0.1:8000"),
        (["traces", "--api", "http://127.0.0.1:9"], 1, "cannot be reached"),
        (["trace", "xyz", "--api", "http://127.0.0.1:9"], 2, "not a trace id"),
        (["import", "missing.jsonl"], 2, "missing.jsonl"),
        (["key", "new", "Not A Project"], 2, "not a valid name"),
        (["up", "--host", "0.0.0.0"], 2, "auth.keys is empty"),
        (["up", "--port", "x"], 2, "not a valid integer"),
        (["config", "--config", "missing.toml"], 2, "missing.toml"),
        (["child", "ingest"], 2, "agenttrace up"),
    ],
)
def test_mistakes_get_one_line_and_a_code(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost: a stack trace where a sentence is due, or a script that takes a failure for success."""
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert run(arguments) == code
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_a_new_key_fits_what_is_to_be_configured(capsys: pytest.CaptureFixture[str]) -> None:
    """Lost: a key that opens nothing."""
    assert run(["key", "new", "crew"]) == 0
    out, err = capsys.readouterr()
    key = out.strip()
    assert tomllib.loads(err[err.index("[[auth.keys]]") :]) == {
        "auth": {"keys": [{"project": "crew", "sha256": hashlib.sha256(key.encode()).hexdigest()}]}
    }
    assert key not in err


def test_config_says_where_values_come_from_and_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost: finding out why a setting has its value; a password on a screen that is shared."""
    secret = "postgresql://me:top@secret@db/x?sslpassword=topsecret&sslmode=require"
    Path("agenttrace.toml").write_text(f'metadata = "{secret}"\n[query]\nport = 8001\n')
    monkeypatch.setenv("AGENTTRACE_WRITE__FLUSH_AGE", "90s")
    assert run(["config"]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["query.port"] == ["8001", "agenttrace.toml"]
    assert lines["write.flush_age"] == ["90s", "environment", "AGENTTRACE_WRITE__FLUSH_AGE"]
    assert lines["ingest.port"] == ["4318", "default"]
    assert lines["metadata"] == ["postgresql://…@db/x?sslpassword=…&sslmode=require", "agenttrace.toml"]


def test_migrate_tells_no_password(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Lost: a slip in one of two files puts the database's password on the screen."""
    for name in ("from", "to"):
        (tmp_path / name).write_text(f'data = "{tmp_path / name}.d"\nmetadata = "postgresql://me:topsecret@db/x"\n')
    assert run(["migrate", "--from", str(tmp_path / "from"), "--to", str(tmp_path / "to")]) == 2
    told = capsys.readouterr().err
    assert "the same metadata, postgresql://…@db/x" in told
    assert "topsecret" not in told


def test_doctor_finds_fault_and_says_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Lost: an operator with a folder of a newer release, or a taken port, is told that all is well."""
    free = ["--port", "0", "--otlp-port", "0", "--grpc-port", "0"]
    assert run(["doctor", "--data", str(tmp_path / "new"), *free]) == 0
    assert "All is well" in capsys.readouterr().out

    folder = tmp_path / "newer"
    folder.mkdir()
    (folder / "format.json").write_text(json.dumps({"format": 99}))
    assert run(["doctor", "--data", str(folder), *free]) == 1
    said = capsys.readouterr().out
    assert "format 99" in said
    assert "pip install -U" in said


@pytest.mark.parametrize(
    ("args", "query", "limit"),
    [
        (["-status:ok"], "NOT status:ok", 20),
        (["model:x", "-has:session", "-n5"], "model:x NOT has:session", 5),
        (["-n", "7", "-{a b}", '-"x y"'], 'NOT {a b} NOT "x y"', 7),
        (["--", "-a"], "-a", 20),
    ],
)
def test_a_term_that_begins_as_options_do_is_a_term(
    args: list[str], query: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost otherwise: negation, on a command line."""
    from agenttrace_server.cli.traces import traces_command

    given: dict[str, object] = {}
    monkeypatch.setattr(traces_command, "callback", lambda **options: given.update(options))
    traces_command.main(args, standalone_mode=False)
    assert (" ".join(given["query"]), given["limit"]) == (query, limit)  # type: ignore[call-overload]


def test_a_wrong_query_is_shown_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lost otherwise: the caret, which stands under the place only if its line is as the query's."""
    from agenttrace_core.query.language import parse_traces
    from agenttrace_server.cli import main, traces

    monkeypatch.setattr(traces.traces_command, "callback", lambda query, **_: parse_traces(" ".join(query)))
    assert main.run(["traces", "model:x", "modle:y"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "agenttrace: there is no field 'modle'; did you mean model?", "  model:x modle:y", "          ^^^^^",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80
