"""Keys, and what was refused, through a whole server."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from agenttrace_server.auth import new_key
from tests.e2e.running import RunningServer, until

BAD = {"traceId": "0" * 32, "spanId": "1" * 16, "name": "bad"}
GOOD = {"traceId": "1" * 32, "spanId": "1" * 16, "name": "good", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}


def request(*spans: dict[str, str]) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


def test_what_was_refused_is_listed_and_dropped(server: RunningServer, tmp_path: Path) -> None:
    """Lost: a sender's spans are refused, and their owner cannot find out which and why."""
    file = tmp_path / "spans.jsonl"
    file.write_bytes(request(GOOD, BAD) + b"\n")
    assert "1 spans sent" in server.cli(["import", str(file)], code=1)
    assert "good" in server.cli(["traces"])

    letters = until(lambda: server.cli(["dead-letters", "list", "--json"]).startswith("{") and letters_of(server), 30)
    assert isinstance(letters, list)
    assert [letter["spans"] for letter in letters] == [1]
    assert "zero" in letters[0]["reason"]
    server.cli(["dead-letters", "drop", letters[0]["id"]])
    assert "Nothing was refused" in server.cli(["dead-letters", "list"])


def letters_of(server: RunningServer) -> list[dict[str, str]]:
    return [json.loads(line) for line in server.cli(["dead-letters", "list", "--json"]).splitlines()]


def test_a_key_opens_its_own_project_and_no_other(tmp_path: Path) -> None:
    """Lost: another project's spans, or a door that takes them from anybody."""
    (crew, crew_hash), (other, other_hash) = new_key("crew"), new_key("other")
    keys = [{"project": "crew", "sha256": crew_hash}, {"project": "other", "sha256": other_hash}]
    server = RunningServer(
        tmp_path / "data",
        AGENTTRACE_AUTH__KEYS=json.dumps(keys), AGENTTRACE_QUERY__HOST="0.0.0.0", AGENTTRACE_INGEST__HOST="0.0.0.0",
    )  # fmt: skip
    server.start()
    try:
        at = server.endpoints()
        headers = {"authorization": f"Bearer {crew}", "content-type": "application/json"}
        sent = httpx.post(f"{at['otlp_http']}/v1/traces", content=request(GOOD), headers=headers)
        assert sent.status_code == 200
        receipt = f"{at['api']}/api/v1/receipts/{sent.headers['agenttrace-receipt']}"
        until(lambda: httpx.get(receipt, headers=headers).json()["readable"], 20)

        trace = f"{at['api']}/api/v1/traces/{GOOD['traceId']}"
        assert httpx.get(trace, headers=headers).status_code == 200
        for path in (trace, receipt):
            assert httpx.get(path, headers={"authorization": f"Bearer {other}"}).status_code == 404
            assert httpx.get(path, headers={"authorization": "Bearer at_crew_wrong"}).status_code == 401
    finally:
        server.destroy()
