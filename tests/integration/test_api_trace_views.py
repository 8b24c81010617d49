"""What the API tells of one trace: in few words, as a tree, in parts, and what a search in it finds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agenttrace_server.query import models
from tests.integration.api import AT_ONCE, LATER, Api, open_api, otlp, span

pytestmark = pytest.mark.anyio

T1 = f"{1:032x}"
START = 1_700_000_000_000_000_000


@pytest.fixture(params=["readable", "in_files"])
def state(request: pytest.FixtureRequest) -> str:
    """Every answer is asked for twice: while its spans are live, and once they are in files."""
    return str(request.param)


@pytest.fixture
async def api(tmp_path: Path, state: str) -> AsyncIterator[Api]:
    async with open_api(tmp_path, LATER if state == "readable" else AT_ONCE) as api:
        yield api


def _span(number: int, parent: int | None, start: int, end: int | None, **more: Any) -> dict[str, Any]:
    """Return a span; times are milliseconds."""
    made = span(number, parentSpanId="" if parent is None else f"{parent:016x}", **more)
    made["startTimeUnixNano"] = str(START + start * 10**6)
    if end is None:
        return {key: value for key, value in made.items() if key != "endTimeUnixNano"}
    return {**made, "endTimeUnixNano": str(START + end * 10**6)}


def _tree() -> list[dict[str, Any]]:
    r"""1 > (2 > (4, 5), 3 > 6 > 7)."""
    return [
        _span(7, 6, 35, 50), _span(6, 3, 32, 60), _span(5, 2, 12, 20), _span(4, 2, 11, 15), _span(3, 1, 30, 80),
        _span(2, 1, 10, 25), _span(1, None, 0, 100),
    ]  # fmt: skip


async def _numbers(api: Api, path: str, **query: Any) -> list[int]:
    page = models.SpanPage.model_validate_json((await api.get(f"/api/v1/traces/{T1}/{path}", **query)).content)
    assert page.matched >= len(page.spans)
    return [int(s.span_id, 16) for s in page.spans]


async def test_a_trace_in_tree_order_and_in_parts(api: Api, state: str) -> None:
    """Lost otherwise: traces too long to be fetched whole."""
    await api.store(otlp(_tree()), state=state)
    trace = models.Trace.model_validate_json((await api.get(f"/api/v1/traces/{T1}", order="tree")).content)
    told = [(int(s.span_id, 16), s.depth, s.children, s.descendants) for s in trace.spans]
    assert told == [(1, 0, 2, 6), (2, 1, 2, 2), (4, 2, 0, 0), (5, 2, 0, 0), (3, 1, 1, 2), (6, 2, 1, 1), (7, 3, 0, 0)]
    assert await _numbers(api, "spans") == [1, 2, 4, 5, 3, 6, 7]
    assert await _numbers(api, "spans", order="start") == [1, 2, 4, 5, 3, 6, 7]
    assert await _numbers(api, "spans", depth=1) == [1, 2, 3]
    assert await _numbers(api, "spans", parent=f"{1:016x}") == [2, 3]
    assert await _numbers(api, "spans", subtree=f"{3:016x}") == [3, 6, 7]
    assert await _numbers(api, "spans", subtree=f"{3:016x}", depth=1) == [3, 6]
    assert await _numbers(api, "spans", parent=f"{1:016x}", subtree=f"{3:016x}") == [3]
    for wrong, status in ((f"subtree={9:016x}", 404), ("parent=x", 400), ("depth=-1", 400), ("order=none", 400)):
        assert (await api.get(f"/api/v1/traces/{T1}/spans?{wrong}")).status_code == status


async def test_pages_in_tree_order_make_up_the_trace(api: Api, state: str) -> None:
    """Lost otherwise: spans at the seams, above all those that share an id and a start."""
    shared = [_span(4, 2, 11, 15, kind=kind) for kind in (2, 3, 4)]
    await api.store(otlp([*_tree(), *shared]), state=state)
    whole = (await api.get(f"/api/v1/traces/{T1}/spans")).json()["spans"]
    assert len(whole) == 10
    for limit in (1, 3, 4):
        seen: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await api.get(f"/api/v1/traces/{T1}/spans", limit=limit, **cursor)).json()
            assert page["matched"] == 10
            seen += page["spans"]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert seen == whole
    wrong = await api.get(f"/api/v1/traces/{T1}/spans", depth=1, cursor=cursor["cursor"])
    assert wrong.status_code == 400, "a cursor is of one question alone"


async def test_a_page_goes_on_while_the_trace_grows(api: Api, state: str) -> None:
    """Lost otherwise: spans that are shown twice, while one leafs through a trace that runs."""
    await api.store(otlp(_tree()), state=state)
    first = (await api.get(f"/api/v1/traces/{T1}/spans", limit=3)).json()
    await api.store(otlp([_span(8, 2, 13, 14), _span(9, 1, 5, 6)]), state=state)
    rest = await _numbers(api, "spans", cursor=first["next_cursor"])
    assert rest == [5, 8, 3, 6, 7]


async def test_search_inside_a_trace(api: Api, state: str) -> None:
    """Lost otherwise: the one span that is looked for, among fifty thousand."""
    more = {"attributes": [{"key": "city", "value": {"stringValue": "Leeds"}}]}
    await api.store(otlp([*_tree(), _span(8, 2, 13, 14, name="parcel", **more)]), state=state)
    assert await _numbers(api, "spans", q="parcel") == [8]
    assert await _numbers(api, "spans", q="LEEDS") == [8]
    assert await _numbers(api, "spans", q="attr.city:Leeds") == [8]
    assert await _numbers(api, "spans", q="name:parcel OR duration>=60ms") == [1, 8]
    assert await _numbers(api, "spans", q="payload:LEEDS") == [8]
    assert await _numbers(api, "spans", q="parcel", subtree=f"{3:016x}") == []
    for wrong in ("name:(", "trace.duration>1s"):
        answer = await api.get(f"/api/v1/traces/{T1}/spans", q=wrong)
        assert answer.status_code == 400
        assert models.Error.model_validate_json(answer.content).error.kind == "invalid_query"


async def test_search_inside_a_trace_by_scores(api: Api, state: str) -> None:
    """Lost otherwise: the spans that somebody found wanting."""
    await api.store(otlp(_tree()), state=state)
    score = {"trace_id": T1, "span_id": f"{5:016x}", "name": "helpful", "value": 0.25}
    answer = await api.client.post("/api/v1/scores", json=score)
    await api.readable(answer.headers["agenttrace-receipt"])
    assert await _numbers(api, "spans", q="score.helpful<0.5") == [5]
    assert await _numbers(api, "spans", q="score.helpful>0.5 OR score.other:x") == []


async def test_a_trace_in_few_words(api: Api, state: str) -> None:
    """Lost otherwise: why a trace failed, and where its time went."""
    failed = {"status": {"code": 2}}
    exception = {"name": "exception", "timeUnixNano": str(START), "attributes": [
        {"key": "exception.type", "value": {"stringValue": "TimeoutError"}},
        {"key": "exception.message", "value": {"stringValue": "no answer"}}]}  # fmt: skip
    spans = [
        _span(1, None, 0, 100, status={"code": 2, "message": "it failed"}), _span(2, 1, 10, 90, **failed),
        _span(3, 2, 20, 60, **failed, events=[exception]), _span(4, 2, 60, 80, **failed), _span(5, 77, 1, 2),
    ]  # fmt: skip
    await api.store(otlp(spans), state=state)
    trace = models.Trace.model_validate_json((await api.get(f"/api/v1/traces/{T1}")).content)
    told = trace.summary
    assert told.error is not None
    assert (int(told.error.span_id, 16), told.error.type, told.error.message) == (3, "TimeoutError", "no answer")
    assert told.error.reached_top is True
    assert [(int(step.span_id, 16), step.self_ns // 10**6) for step in told.critical_path] == [
        (1, 20), (2, 20), (3, 40), (4, 20),
    ]  # fmt: skip
    assert [(int(m.span_id, 16), m.children) for m in told.missing_parents] == [(77, 1)]
    assert (told.roots, told.depth, told.state, told.status) == (1, 3, "complete", "error")


async def test_a_clock_that_is_off_is_told_and_corrected(api: Api, state: str) -> None:
    """Lost otherwise: trees in which a server answers before it is asked."""
    await api.store(otlp([_span(1, None, 1000, 1100, kind=3)], "shop"), state=state)
    await api.store(otlp([_span(2, 1, 10, 70, kind=2), _span(3, 2, 20, 30)], "depot"), state=state)
    trace = models.Trace.model_validate_json((await api.get(f"/api/v1/traces/{T1}", order="tree")).content)
    assert [(s.start_ns - START, s.skew_ns) for s in trace.spans if s.start_ns] == [
        (1000 * 10**6, 0), (10 * 10**6, 1010 * 10**6), (20 * 10**6, 1010 * 10**6),
    ]  # fmt: skip
    assert [(s.service, s.skew_ns, s.spans) for s in trace.summary.clock_skew] == [("depot", 1010 * 10**6, 2)]


async def test_a_trace_runs_until_its_last_span_has_ended(api: Api, state: str) -> None:
    """Lost otherwise: what still works, told from what is over."""
    await api.store(otlp([_span(2, 1, 10, 20)]), state=state)
    path = f"/api/v1/traces/{T1}"
    assert (await api.get(path)).json()["summary"]["state"] == "running"
    await api.store(otlp([_span(1, None, 0, None)]), state=state)
    assert (await api.get(path)).json()["summary"]["state"] == "running"
    await api.store(otlp([_span(1, None, 0, 30)]), state=state)
    assert (await api.get(path)).json()["summary"]["state"] == "complete"
    assert [item["state"] for item in (await api.get("/api/v1/traces")).json()["items"]] == ["complete"]
