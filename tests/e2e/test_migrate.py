"""A deployment in a folder, moved to Kafka, S3 and PostgreSQL and back by the command, killed on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.canonical import span_multiset
from tests.e2e.running import RunningServer, environment, until
from tests.e2e.test_import_export import FEW, files_of, recorded
from tests.servers.s3 import S3Bucket

pytestmark = pytest.mark.timeout(600)


class _Place:
    """A deployment: a server that can be started there, and its configuration file."""

    def __init__(self, folder: Path, settings: Mapping[str, str], variables: Mapping[str, str]) -> None:
        named = {f"AGENTTRACE_{key.upper()}": url for key, url in settings.items()}
        # So that what is imported is several files, and some of it is merged.
        quick = {"AGENTTRACE_WRITE__FLUSH_AGE": "0.3s", "AGENTTRACE_COMPACT__FAN_IN": "2"}
        self.server = RunningServer(folder, **named, **quick, **variables)
        self.config = folder.with_suffix(".toml")
        lines = [f'{key} = "{value}"' for key, value in {"data": str(folder), **settings}.items()]
        self.config.write_text("\n".join(lines))

    def holds(self, output: Path) -> dict[str, Any]:
        """Start the server, and return all that it tells of; then stop it."""
        self.server.start()
        try:
            until(lambda: not self.server.get("/api/v1/traces")["partial"])
            return self.told(output)
        finally:
            assert self.server.stop() == 0

    def told(self, output: Path) -> dict[str, Any]:
        """Return all that the running server tells of."""
        self.server.cli(["export", "-o", str(output)])
        summaries = {item["trace_id"]: item for item in self.server.traces()}
        letters = self.server.get("/api/v1/dead-letters")["items"]
        return {
            "spans": span_multiset(recorded(output)),
            "traces": summaries,
            "scores": self.server.get("/api/v1/scores")["items"],
            "usage": self.server.cli(["usage", "--by", "model", "--since", "2000-01-01T00:00:00Z", "--json"]),
            "letters": letters,
        }


@pytest.fixture
def places(
    tmp_path: Path, kafka_url: str, minio_bucket: S3Bucket, postgres_url: str
) -> Iterator[tuple[_Place, _Place, _Place]]:
    shared = {"queue": f"{kafka_url}?partitions=3", "storage": minio_bucket.url(), "metadata": postgres_url}
    variables = minio_bucket.place.environment()
    made = (
        _Place(tmp_path / "here", {}, {}),
        _Place(tmp_path / "there", shared, variables),
        _Place(tmp_path / "back", {}, {}),
    )
    try:
        yield made
    finally:
        for place in made:
            place.server.destroy()


def test_there_and_back_with_kills_on_the_way_nothing_differs(
    places: tuple[_Place, _Place, _Place], minio_bucket: S3Bucket, corpora: Path, tmp_path: Path
) -> None:
    """Lost: what a user had, on the day that it outgrew one machine, or came home again."""
    here, there, back = places
    here.server.start()
    _fill(here.server, corpora)
    assert here.server.stop() == 0
    held = here.holds(tmp_path / "here.jsonl.zst")
    assert held["spans"]
    assert len(held["scores"]) == len(held["letters"]) == 1

    _migrate(here, there, minio_bucket.place.environment())
    assert there.holds(tmp_path / "there.jsonl.zst") == held

    there.server.start()
    _send(there.server, "more", "b" * 32, "0000000000000002")
    until(lambda: any(item["trace_id"] == "b" * 32 for item in there.server.traces()))
    more = there.told(tmp_path / "more.jsonl.zst")
    assert there.server.stop() == 0
    assert len(more["traces"]) == len(held["traces"]) + 1

    _migrate(there, back, minio_bucket.place.environment())
    assert back.holds(tmp_path / "back.jsonl.zst") == more


def _fill(server: RunningServer, corpora: Path) -> None:
    """Send recorded traces, a score, and what is refused; the newest of it stays in the queue."""
    assert "readable now" in server.cli(["import", *map(str, files_of(corpora, FEW[:1]))])
    _send(server, "good", "a" * 32, "0000000000000001")
    until(lambda: any(item["trace_id"] == "a" * 32 for item in server.traces()))
    server.cli(["score", "a" * 32, "helpful", "0.5"])
    _send(server, "bad", "0" * 32, "0000000000000001", refused=True)
    until(lambda: server.get("/api/v1/scores")["items"])
    until(lambda: server.get("/api/v1/dead-letters")["items"], 30)


def _send(server: RunningServer, name: str, trace_id: str, span_id: str, *, refused: bool = False) -> None:
    span = {"traceId": trace_id, "spanId": span_id, "name": name, "startTimeUnixNano": f"{time.time_ns()}"}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    answer = httpx.post(f"{server.endpoints()['otlp_http']}/v1/traces", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    assert bool(answer.json().get("partialSuccess")) == refused


def _command(source: _Place, target: _Place) -> list[str]:
    return [
        sys.executable, "-m", "agenttrace_server", "migrate", "--from", str(source.config), "--to", str(target.config),
    ]  # fmt: skip


def _run(source: _Place, target: _Place, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(source, target), env=environment(**variables), capture_output=True, text=True, timeout=300, check=False
    )


def _migrate(source: _Place, target: _Place, variables: Mapping[str, str]) -> None:
    """Run it killed twice, while files are copied and before all is checked; then as it is."""
    for step in ("files", "check"):
        killed = _killed(source, target, variables, step)
        assert killed.returncode == -9, killed.stderr
    ended = _run(source, target, variables)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "differs" not in ended.stdout
    assert "all is there" in ended.stdout
    assert "completed before" in _run(source, target, variables).stdout


def test_what_runs_is_not_moved_and_half_of_a_move_does_not_start(tmp_path: Path) -> None:
    """Lost: what a server wrote while it was being copied; or the other half, which nobody misses until later."""
    here, there = _Place(tmp_path / "here", {}, {}), _Place(tmp_path / "there", {}, {})
    here.server.start()
    _send(here.server, "waits", "a" * 32, "0000000000000001")
    try:
        ended = _run(here, there, {})
        assert ended.returncode == 2
        assert "is in use by process" in ended.stderr
    finally:
        here.server.destroy()
    half = _killed(here, there, {}, "check")
    assert half.returncode == -9, half.stderr
    started = subprocess.run(
        [sys.executable, "-m", "agenttrace_server", "query", "--data", str(tmp_path / "there"), "--port", "0"],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert started.returncode == 2
    assert "run `agenttrace migrate` again" in started.stderr
    assert _run(here, there, {}).returncode == 0
    assert json.loads((tmp_path / "there" / "format.json").read_text())["format"]


_KILLED = """
import os, signal, sys
from pathlib import Path
import anyio
from agenttrace_server.composition_migrate import run_migrate, settings_of

class Progress:
    step, done = "", 0
    def begin(self, step, total_bytes):
        self.step, self.done = step, 0
    def advance(self, size):
        self.done += 1
        if self.step == sys.argv[3] and self.done == 3:
            os.kill(os.getpid(), signal.SIGKILL)

anyio.run(run_migrate, settings_of(Path(sys.argv[1])), settings_of(Path(sys.argv[2])), Progress())
"""


def _killed(
    source: _Place, target: _Place, variables: Mapping[str, str], step: str
) -> subprocess.CompletedProcess[str]:
    """Move, and be killed by SIGKILL once the third object of a step is done."""
    return subprocess.run(
        [sys.executable, "-c", _KILLED, str(source.config), str(target.config), step],
        env=environment(**variables), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
