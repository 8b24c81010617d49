"""Who gets what through the API's door: projects, hosts, receipts, dead letters, health."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from agenttrace_core.ports.queue import Headers, Signal
from agenttrace_server.query import models
from tests.integration.api import AT_ONCE, Api, as_project, open_api, otlp, span

pytestmark = pytest.mark.anyio

T1 = f"{1:032x}"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(tmp_path, AT_ONCE) as api:
        yield api


async def test_nothing_crosses_from_one_project_to_another(api: Api) -> None:
    """Lost otherwise: everything that a key is for. Every door is tried with the other project's ids."""
    both = otlp([span(n) for n in range(1, 4)] + [span(1, trace=2)])
    sent = await api.store(both, "red")
    await api.post(otlp([span(1, traceId="zz")]), "red")
    page = (await api.get(f"/api/v1/traces/{T1}", "red", limit=1)).json()
    listed = (await api.get("/api/v1/traces", "red", limit=1)).json()
    letter = await _letter(api, "red")
    for project in ("blue", None):
        refused = [
            (404, f"/api/v1/traces/{T1}"),
            (404, f"/api/v1/traces/{T1}?format=otlp"),
            (404, f"/api/v1/traces/{T1}/spans/{1:016x}"),
            (404, f"/api/v1/receipts/{sent['receipt']}"),
            (404, f"/api/v1/dead-letters/{letter}"),
            (404, f"/api/v1/dead-letters/{letter}/body"),
            (400, f"/api/v1/traces/{T1}?cursor={page['next_cursor']}"),
            (400, f"/api/v1/traces?cursor={listed['next_cursor']}"),
        ]
        for status, path in refused:
            assert (await api.get(path, project)).status_code == status, path
        assert (await api.get("/api/v1/traces", project)).json()["items"] == []
        assert (await api.get("/api/v1/dead-letters", project)).json()["items"] == []
        assert (await api.get("/api/v1/export", project)).content == b""
        replay = f"/api/v1/dead-letters/{letter}/replay"
        assert (await api.client.post(replay, headers=as_project(project))).status_code == 404
        dropped = await api.client.delete(f"/api/v1/dead-letters/{letter}", headers=as_project(project))
        assert dropped.status_code == 404
    assert (await api.get(f"/api/v1/traces/{T1}", "red")).status_code == 200


async def test_a_cursor_belongs_to_its_question(api: Api) -> None:
    """Lost otherwise: a page of another trace, under the name of this one."""
    await api.store(otlp([span(n, trace=t) for t in (1, 2) for n in (1, 2)]))
    cursor = (await api.get(f"/api/v1/traces/{T1}", limit=1)).json()["next_cursor"]
    assert (await api.get(f"/api/v1/traces/{T1}", cursor=cursor)).status_code == 200
    assert (await api.get(f"/api/v1/traces/{2:032x}", cursor=cursor)).status_code == 400
    assert (await api.get("/api/v1/traces", cursor=cursor)).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer wrong"}, 401),
        ({"x-forwarded-for": "10.0.0.1"}, 401),
        ({"host": "evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://localhost:5173"}, 200),
    ],
)
async def test_who_may_come_in(api: Api, headers: dict[str, str], status: int) -> None:
    """Lost otherwise: the traces on a laptop, to any web page that its owner opens."""
    answer = await api.client.get("/api/v1/traces", headers=headers)
    assert answer.status_code == status
    if status != 200:
        models.Error.model_validate_json(answer.content)


async def test_a_receipt_tells_what_became_of_a_request(tmp_path: Path) -> None:
    """Lost otherwise: the sender's proof, and the reason for what was refused."""
    async with open_api(tmp_path) as api:
        answer = await api.post(otlp([span(1), span(2, spanId="0" * 16)]))
        sent = models.Sent.model_validate_json(answer.content)
        assert (sent.accepted, sent.rejected) == (1, 1)
        assert sent.partialSuccess == {"rejectedSpans": "1", "errorMessage": sent.reason}
        told = models.Receipt.model_validate(await api.readable(answer.headers["agenttrace-receipt"]))
        assert (told.stored, told.in_files, told.accepted, told.rejected) == (True, False, 1, 1)
        assert told.reason
        assert (await api.get(f"/api/v1/receipts/{sent.receipt[:-3]}AAA")).status_code == 404


async def test_a_dead_letter_can_be_looked_at_sent_again_and_dropped(api: Api) -> None:
    """Lost otherwise: what was refused, once its reason has been mended."""
    await api.post(otlp([span(1), span(2, spanId="0" * 16)]))
    letter_id = await _letter(api)
    letter = models.DeadLetter.model_validate_json((await api.get(f"/api/v1/dead-letters/{letter_id}")).content)
    assert (letter.signal, letter.spans) == ("traces", 1)
    body = (await api.get(f"/api/v1/dead-letters/{letter_id}/body")).json()
    assert body[0]["name"] == "span 2"
    replayed = await api.client.post(f"/api/v1/dead-letters/{letter_id}/replay")
    assert (replayed.status_code, replayed.json()["accepted"], replayed.json()["rejected"]) == (200, 0, 1)
    assert (await api.get(f"/api/v1/dead-letters/{letter_id}")).status_code == 200
    assert (await api.client.delete(f"/api/v1/dead-letters/{letter_id}")).status_code == 204
    assert (await api.get(f"/api/v1/dead-letters/{letter_id}")).status_code == 404


async def test_what_is_acknowledged_but_not_readable_is_told(tmp_path: Path) -> None:
    """Lost otherwise: the honesty of an answer while the writer is behind, or gone."""
    async with open_api(tmp_path, write=None) as api:
        await api.queue.append(Headers("default", Signal.TRACES, time.time_ns()), b"x" * 1000)
        listed = (await api.get("/api/v1/traces")).json()
        assert listed["partial"] is True
        assert listed["lag_bytes"] > 1000
        answer = await api.get(f"/api/v1/traces/{T1}")
        assert answer.status_code == 404
        assert "not all that was acknowledged is readable yet" in answer.json()["error"]["message"]


async def test_health_says_which_part_is_missing(api: Api) -> None:
    """Lost otherwise: an orchestrator that sends traffic to a server which cannot serve."""
    assert (await api.get("/healthz")).text == "ok\n"
    assert (await api.get("/readyz")).status_code == 200
    api.parts["write"] = False
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]) == (503, {"write": False})


async def test_figures_are_counted_by_route_and_never_by_path(api: Api) -> None:
    """Lost otherwise: Prometheus's memory, one series an id."""
    some_id = uuid4().hex
    await api.get(f"/api/v1/traces/{some_id}")
    figures = (await api.get("/metrics")).text
    assert 'agenttrace_query_requests_total{route="/api/v1/traces/{trace_id}",status="404"} 1.0' in figures
    assert some_id not in figures


async def test_openapi_describes_every_door(api: Api) -> None:
    """Lost otherwise: clients that are made from the description."""
    described = (await api.get("/openapi.json")).json()
    assert {"/api/v1/traces", "/api/v1/traces/{trace_id}", "/api/v1/receipts/{receipt_id}"} <= described["paths"].keys()
    listing = described["paths"]["/api/v1/traces"]["get"]["responses"]
    assert listing["200"]["content"]["application/json"]["schema"]["$ref"].endswith("TraceListing")
    assert listing["400"]["content"]["application/json"]["schema"]["$ref"].endswith("Error")


async def test_paths_and_methods_that_are_not_there_are_told_in_the_same_form(api: Api) -> None:
    """Lost otherwise: one way to read an error."""
    for answer in (await api.get("/api/v1/nothing"), await api.client.put("/api/v1/traces")):
        assert answer.status_code in {404, 405}
        models.Error.model_validate_json(answer.content)


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"{", "application/json", 400),
        (json.dumps({"spans": []}).encode(), "application/json", 400),
        (b"\xff\xff", "application/x-protobuf", 400),
        (b"x", "text/plain", 415),
        (b"[" * 200_000, "application/json", 400),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_with_the_reason(
    api: Api, body: bytes, media_type: str, status: int
) -> None:
    """Lost otherwise: an answer to whoever sends by hand."""
    answer = await api.post(body, **{"content-type": media_type})
    assert answer.status_code == status
    models.Error.model_validate_json(answer.content)


async def _letter(api: Api, project: str | None = None) -> str:
    """Wait for a project's first dead letter to be written, and return its id."""
    async with asyncio.timeout(20):
        while not (items := (await api.get("/api/v1/dead-letters", project)).json()["items"]):
            await asyncio.sleep(0.05)
    return str(items[0]["id"])
