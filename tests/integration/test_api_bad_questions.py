"""Questions that are wrong, hostile or too much: a clear refusal or an answer within the limits, never a defect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from agenttrace_core.services.analytics import AnalyticsService
from agenttrace_server.query import models
from agenttrace_server.query.patience import QueryLimits
from tests.integration.api import AT_ONCE, Api, open_api, otlp, span

pytestmark = pytest.mark.anyio

LISTS = ("traces", "spans", "sessions", "users", "agents", "tools", "models", "prompts", "errors")
FIGURES = ("analytics", "analytics/usage", "analytics/latency", "analytics/errors", "analytics/cost")
ALL = (*LISTS, *FIGURES)
SECRET = "what-only-blue-may-see"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A server with a few spans of two projects."""
    async with open_api(tmp_path, AT_ONCE) as api:
        told = [{"key": "session.id", "value": {"stringValue": SECRET}}]
        await api.store(otlp([span(n, name=SECRET, attributes=told) for n in range(1, 5)], SECRET), "blue")
        await api.store(otlp([span(n) for n in range(1, 30)]), "red")
        yield api


QUERIES = {
    "of 15 KB": '"' + "x" * 15_000 + '"',
    "of 1,000 terms": " ".join(f"a{n}" for n in range(1000)),
    "nested 500 deep": "(" * 500 + "a" + ")" * 500,
    "with NUL": "name:\0",
    "with SQL": "name:'; DROP TABLE spans; --",
    "with SQL as a field": '"x\' OR 1=1 --":1',
    "with SQL as an attribute": "attr.\"a') OR TRUE OR ('\":1",
    "whose expression explodes": r"name:/(a+)+$(b|b)*c{1000}{1000}/",
    "whose expression is none": "name:/(/",
    "of surrogates": "name:\ud800",
    "that asks for another project": 'project:blue OR attr.project:"blue" OR resource.project:blue',
    "that is not closed": '{name:"x',
}


@pytest.mark.parametrize("door", ALL)
async def test_odd_queries_are_refused_with_the_reason_or_answered(api: Api, door: str) -> None:
    """Lost otherwise: the server, another project's spans, or the patience of whoever mistyped."""
    for what, query in QUERIES.items():
        url = f"/api/v1/{door}?q={quote(query, errors='surrogatepass')}"
        answer = await api.get(url, "red")
        assert answer.status_code in {200, 400, 422, 431}, (what, answer.status_code, answer.text[:300])
        assert SECRET not in answer.text, what
        if answer.status_code != 200:
            assert models.Error.model_validate_json(answer.content).error.message, what


async def test_a_query_of_100_kilobytes_is_refused_with_the_reason(api: Api) -> None:
    """Lost otherwise: a client that waits, or one that is told nothing."""
    host, _, port = api.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /api/v1/traces?q={'x' * 100_000} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert "64 KiB" in models.Error.model_validate_json(answer.partition(b"\r\n\r\n")[2]).error.message


RANGES: dict[str, dict[str, Any]] = {
    "of zero": {"start": 1_700_000_000 * 10**9, "end": 1_700_000_000 * 10**9},
    "negative": {"start": 1_700_000_001 * 10**9, "end": 1_700_000_000 * 10**9},
    "a century": {"start": "1930-01-01T00:00:00Z", "end": "2030-01-01T00:00:00Z"},
    "before all time": {"start": -(2**63), "end": 2**63 - 1},
    "beyond 64 bits": {"start": 2**63},
    "of no time": {"start": "yesterday"},
    "of a day that is none": {"end": "2026-02-30T00:00:00Z"},
    "of the year 10000": {"end": "10000-01-01T00:00:00Z"},
}


@pytest.mark.parametrize("door", ALL)
async def test_odd_times_are_refused_with_the_reason_or_answered(api: Api, door: str) -> None:
    """Lost otherwise: the server, to a clock that is wrong."""
    for what, times in RANGES.items():
        for more in ({}, {"bucket": "1s"}, {"bucket": "month", "tz": "Pacific/Apia"}, {"compare": "previous"}):
            answer = await api.get(f"/api/v1/{door}", "red", **times, **more)
            assert answer.status_code in {200, 400, 422}, (what, more, answer.text[:300])
            if answer.status_code != 200:
                models.Error.model_validate_json(answer.content)


@pytest.mark.parametrize(
    "asked",
    [
        {"group_by": "modle"},
        {"group_by": "a,b,c,d"},
        {"group_by": "model,model"},
        {"group_by": "input_tokens"},
        {"group_by": "trace.status"},
        {"group_by": ",,,"},
        {"bucket": "0s"},
        {"bucket": "1 fortnight"},
        {"bucket": "999999999w"},
        {"tz": "../../etc/passwd"},
        {"tz": "Mars/Olympus"},
        {"top": 0},
        {"top": "many"},
        {"top_by": "beauty"},
        {"compare": "previous"},
        {"compare": "yesterday"},
        {"format": "xml"},
    ],
    ids=str,
)
async def test_what_figures_cannot_be_asked_is_said(api: Api, asked: dict[str, Any]) -> None:
    """Lost otherwise: an afternoon, over a chart of the wrong thing."""
    answer = await api.get("/api/v1/analytics/usage", "red", **asked)
    assert answer.status_code == 400, answer.text[:300]
    assert models.Error.model_validate_json(answer.content).error.message


async def test_a_cursor_is_good_for_one_list_of_one_project(api: Api) -> None:
    """Lost otherwise: another project's spans, by a cursor that was found or made up."""
    first = await api.get("/api/v1/spans", "red", limit=2)
    cursor = first.json()["next_cursor"]
    assert (await api.get("/api/v1/spans", "red", limit=5, cursor=cursor)).status_code == 200
    flipped = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    for project, door, more in (
        ("blue", "spans", {"cursor": cursor}),
        ("red", "traces", {"cursor": cursor}),
        ("red", "spans", {"cursor": cursor, "q": "name:x"}),
        ("red", "spans", {"cursor": cursor, "start": 1}),
        ("red", "spans", {"cursor": flipped}),
        ("red", "spans", {"cursor": "forged"}),
        ("red", "sessions", {"cursor": cursor}),
        ("red", "errors", {"cursor": cursor}),
    ):
        answer = await api.get(f"/api/v1/{door}", project, **more)
        assert answer.status_code == 400, (project, door, more)
        assert SECRET not in answer.text


async def test_pages_are_the_whole_list_once_while_spans_keep_coming(api: Api) -> None:
    """Lost otherwise: traces that slip between two pages, or stand on both."""
    await api.store(otlp([span(n, trace=n) for n in range(100, 140)]), "red")
    for sort in ("start", "start:asc", "duration", "cost:asc", "tokens"):
        seen: list[str] = []
        cursor: str | None = None
        for late in range(50):
            asked = {"sort": sort, "limit": 7, **({"cursor": cursor} if cursor else {})}
            page = (await api.get("/api/v1/traces", "red", **asked)).json()
            seen += [item["trace_id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
            new = 2_000_000_000_000_000_000 + late  # in the year 2033: after all that was there
            await api.store(otlp([span(1, trace=new, startTimeUnixNano=str(new), endTimeUnixNano=str(new))]), "red")
        assert len(seen) == len(set(seen)), sort
        assert {f"{n:032x}" for n in range(100, 140)} <= set(seen), sort


async def test_a_question_that_takes_too_long_is_given_up_and_too_many_are_refused(tmp_path: Path) -> None:
    """Lost otherwise: the server, to a page that asks for everything every second."""
    async with open_api(tmp_path, AT_ONCE, QueryLimits(timeout_s=0.0001)) as api:
        await api.store(otlp([span(1)]))
        answer = await api.get("/api/v1/analytics/usage")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "limit_exceeded")
        assert "query.timeout" in answer.json()["error"]["message"]
    async with open_api(tmp_path, AT_ONCE, QueryLimits(concurrent=1, waiting=1, wait_s=0.01)) as api:
        answers = await asyncio.gather(*(api.get("/api/v1/analytics/latency", bucket="1s") for _ in range(30)))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert (await api.get("/api/v1/analytics/latency")).status_code == 200


async def test_an_answer_with_too_many_rows_is_refused_by_name(tmp_path: Path) -> None:
    """Lost otherwise: the memory of the server and of whoever asked."""
    async with open_api(tmp_path, AT_ONCE, QueryLimits(max_rows=10)) as api:
        await api.store(otlp([span(n) for n in range(1, 30)]))
        answer = await api.get("/api/v1/analytics/usage", group_by="name")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "limit_exceeded")
        assert "query.max_rows" in answer.json()["error"]["message"]
        rows = (await api.get("/api/v1/analytics/usage", group_by="name", top=9)).json()["rows"]
        assert (len(rows), sum(row["spans"] for row in rows)) == (10, 29)
        of = {"name": "helpful", "value": 1, "trace_id": f"{1:032x}"}
        scores = [{**of, "span_id": f"{n:016x}"} for n in range(1, 30)]
        given = await api.client.post("/api/v1/scores", json=scores)
        await api.readable(given.headers["agenttrace-receipt"])
        answer = await api.get("/api/v1/analytics/scores", name="helpful", group_by="name")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "limit_exceeded")


async def test_a_question_whose_asker_has_left_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: the engine's time, to pages that were closed long ago."""
    given_up = asyncio.Event()

    async def endless(*_: Any, **__: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            given_up.set()
            raise

    monkeypatch.setattr(AnalyticsService, "answer", endless)
    async with open_api(tmp_path, AT_ONCE) as api:
        with pytest.raises(httpx.ReadTimeout):
            await api.client.get("/api/v1/analytics/usage", timeout=0.3)
        await asyncio.wait_for(given_up.wait(), 10)
