"""More than can be written, and more than fits on the disk: told to the sender, and over without a restart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.running import RunningServer, until

_TEXT = "all work and no play " * 5000


def _request(number: int) -> bytes:
    """Return a request of one span of about 100 kB, in a trace of its own."""
    span = {
        "traceId": f"{number + 1:032x}", "spanId": f"{number + 1:016x}", "name": f"span {number}",
        "startTimeUnixNano": str(number + 1), "endTimeUnixNano": str(number + 2),
        "attributes": [{"key": "text", "value": {"stringValue": _TEXT}}],
    }  # fmt: skip
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


def _post(server: RunningServer, number: int) -> httpx.Response:
    url = f"{server.endpoints()['otlp_http']}/v1/traces"
    return httpx.post(url, content=_request(number), headers={"content-type": "application/json"}, timeout=30)


def _names(server: RunningServer) -> list[str]:
    return sorted(item["name"] for item in server.traces())


def test_a_stopped_writer_is_told_of_and_costs_nothing_that_was_accepted(tmp_path: Path) -> None:
    """Lost: the machine's disk, the senders' spans, or the truth about what cannot be read yet."""
    server = RunningServer(
        tmp_path / "data", AGENTTRACE_INGEST__MAX_BACKLOG_BYTES="2MiB", AGENTTRACE_WRITE__FLUSH_AGE="1s"
    )
    server.start()
    writer = server.pid_of("write")
    try:
        os.kill(writer, signal.SIGSTOP)
        accepted: list[int] = []
        number, refused = 0, None
        give_up = time.monotonic() + 20
        while refused is None and time.monotonic() < give_up:
            answer = _post(server, number)
            if answer.status_code == 200:
                accepted.append(number)
            else:
                refused = answer
            number += 1
        assert refused is not None, "the backlog has no bound"
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 3
        assert refused.json()["message"]

        listing = server.get("/api/v1/traces")
        assert listing["partial"]
        assert listing["lag_bytes"] > 1 << 20
        unread = httpx.get(f"{server.endpoints()['api']}/api/v1/traces/{accepted[0] + 1:032x}", timeout=30)
        assert unread.status_code == 404
        assert "not all that was acknowledged is readable yet" in unread.json()["error"]["message"]
    finally:
        os.kill(writer, signal.SIGCONT)
    try:
        until(lambda: not server.get("/api/v1/traces")["partial"], 20)
        assert _names(server) == sorted(f"span {number}" for number in accepted)
        until(lambda: _post(server, 1000).status_code == 200, 20)
        assert server.pid_of("write") == writer
    finally:
        server.destroy()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB, in memory."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root can mount a small file system; run as root in a container to have it tested")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here; a container with CAP_SYS_ADMIN would")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_never_acknowledged_and_heals_without_a_restart(small_disk: Path) -> None:
    """Lost: spans whose senders were told that they are safe; or the server, until somebody comes."""
    server = RunningServer(small_disk / "data")
    server.start()
    ballast = small_disk / "ballast"
    try:
        parts = {part: server.pid_of(part) for part in ("ingest", "query")}
        assert _post(server, 0).status_code == 200
        with ballast.open("wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
            except OSError:
                pass
        answers = {number: _post(server, number) for number in range(1, 20)}
        refused = [answer for answer in answers.values() if answer.status_code != 200]
        assert refused, "the disk was not full"
        for answer in refused:
            assert answer.status_code == 503
            assert 1 <= int(answer.headers["retry-after"]) <= 3
        accepted = [0, *(number for number, answer in answers.items() if answer.status_code == 200)]

        ballast.unlink()
        until(lambda: _post(server, 1000).status_code == 200, 20)
        accepted.append(1000)
        expected = sorted(f"span {number}" for number in accepted)
        until(lambda: _names(server) == expected, 20)
        assert {part: server.pid_of(part) for part in parts} == parts, f"a process died: {server.log()}"
    finally:
        server.destroy()
