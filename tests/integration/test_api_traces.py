"""The API's answers about traces, from spans sent to it, over real files and a real live table."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agenttrace_server.query import models
from tests.integration.api import AT_ONCE, LATER, Api, open_api, otlp, span

pytestmark = pytest.mark.anyio

T1, T2 = f"{1:032x}", f"{2:032x}"


@pytest.fixture(params=["readable", "in_files"])
def state(request: pytest.FixtureRequest) -> str:
    """Every answer is asked for twice: while its spans are live, and once they are in files."""
    return str(request.param)


@pytest.fixture
async def api(tmp_path: Path, state: str) -> AsyncIterator[Api]:
    async with open_api(tmp_path, LATER if state == "readable" else AT_ONCE) as api:
        yield api


async def test_a_trace_reads_back_as_a_tree_in_order(api: Api, state: str) -> None:
    """Lost otherwise: the door that everything else reads by."""
    error = {"status": {"code": 2, "message": "no"}}
    await api.store(otlp([span(3, **error), span(2), span(1)]), state=state)
    answer = await api.get(f"/api/v1/traces/{T1}")
    trace = models.Trace.model_validate_json(answer.content)
    assert [s.span_id for s in trace.spans] == [f"{n:016x}" for n in (1, 2, 3)]
    assert [s.parent_span_id for s in trace.spans] == [None, f"{1:016x}", f"{1:016x}"]
    assert trace.spans[2].status == "error"
    assert trace.spans[2].status_message == "no"
    assert trace.spans[0].model_dump()["kind"] == "internal"
    assert (trace.spans[0].start_ns, trace.spans[0].duration_ns) == (1_700_000_000_000_001_000, 500)
    assert (trace.summary.spans, trace.summary.errors, trace.summary.name, trace.summary.service) == (
        3, 1, "span 1", "web",
    )  # fmt: skip
    assert (trace.trace_id, trace.next_cursor, trace.partial, trace.lag_bytes) == (T1, None, False, 0)


async def test_an_unknown_trace_is_404_with_a_reason(api: Api) -> None:
    """Lost otherwise: knowing whether an id was wrong, or its spans are still on their way."""
    for path in (f"/api/v1/traces/{T2}", f"/api/v1/traces/{T2}?format=otlp", f"/api/v1/traces/{T2}/spans/{'a' * 16}"):
        answer = await api.get(path)
        assert answer.status_code == 404
        error = models.Error.model_validate_json(answer.content).error
        assert error.kind == "not_found"
        assert T2 in error.message


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/traces/xyz", f"/api/v1/traces/{'0' * 32}", f"/api/v1/traces/{T1}/spans/12", "/api/v1/traces?limit=0",
        "/api/v1/traces?limit=many", "/api/v1/traces?cursor=forged", f"/api/v1/traces/{T1}?format=xml",
        f"/api/v1/traces/{T1}?cursor=forged",
    ],
)  # fmt: skip
async def test_a_question_that_cannot_be_asked_is_400_and_says_what_is_wrong(api: Api, path: str) -> None:
    """Lost otherwise: the caller's hour, spent on an answer to another question."""
    answer = await api.get(path)
    assert answer.status_code == 400
    assert models.Error.model_validate_json(answer.content).error.kind == "invalid_input"


async def test_pages_of_a_trace_make_up_the_trace(api: Api, state: str) -> None:
    """Lost otherwise: spans at the seams, above all those that share a start, or a start and an id."""
    tied = {"startTimeUnixNano": "1700000000000009000"}
    spans = [span(n) for n in range(1, 6)]
    spans += [span(n, **tied) for n in range(6, 10)]
    spans += [span(6, kind=kind, **tied) for kind in (2, 3)]
    await api.store(otlp(spans), state=state)
    whole = (await api.get(f"/api/v1/traces/{T1}")).json()["spans"]
    assert len(whole) == 11
    for limit in (1, 2, 3, 10):
        seen: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await api.get(f"/api/v1/traces/{T1}", limit=limit, **cursor)).json()
            assert page["summary"]["spans"] == 11
            seen += page["spans"]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert seen == whole


async def test_a_parent_that_has_not_come_is_told(api: Api, state: str) -> None:
    """Lost otherwise: the difference between a child whose parent is on the next page, and an orphan."""
    await api.store(otlp([span(2), span(3, parentSpanId=f"{2:016x}")]), state=state)
    page = (await api.get(f"/api/v1/traces/{T1}")).json()
    assert [s["orphan"] for s in page["spans"]] == [True, False]
    assert page["summary"]["has_root"] is False
    listed = (await api.get("/api/v1/traces")).json()["items"]
    assert [item["trace_id"] for item in listed] == [T1]


async def test_the_list_is_newest_first_and_its_cursor_stable_while_data_arrives(api: Api, state: str) -> None:
    """Lost otherwise: traces that are shown twice or never, while one leafs through the list."""
    await api.store(otlp([span(n, trace=n, parentSpanId="") for n in range(1, 8)]), state=state)
    first = models.TraceListing.model_validate_json((await api.get("/api/v1/traces", limit=3)).content)
    assert [item.trace_id for item in first.items] == [f"{n:032x}" for n in (7, 6, 5)]
    await api.store(otlp([span(9, trace=9)]), state=state)
    rest: list[str] = []
    cursor = first.next_cursor
    while cursor:
        page = (await api.get("/api/v1/traces", limit=3, cursor=cursor)).json()
        rest += [item["trace_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert rest == [f"{n:032x}" for n in (4, 3, 2, 1)]
    again = (await api.get("/api/v1/traces", limit=1, cursor="")).json()
    assert [item["trace_id"] for item in again["items"]] == [f"{9:032x}"], "an empty cursor is the beginning"


async def test_everything_of_a_span_comes_back(api: Api, state: str) -> None:
    """Lost otherwise: attributes, events and links, in whole or in part."""
    attributes = [
        {"key": "n", "value": {"intValue": "9007199254740993"}},
        {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"boolValue": True}]}}},
    ]
    event = {"name": "e", "timeUnixNano": "1700000000000000007", "attributes": attributes}
    link = {"traceId": T2, "spanId": "b" * 16, "traceState": "x=1", "attributes": attributes, "flags": 1}
    sent = span(1, attributes=attributes, events=[event], links=[link], traceState="k=v", droppedEventsCount=2)
    await api.store(otlp([sent]), state=state)
    answer = await api.get(f"/api/v1/traces/{T1}/spans/{1:016x}")
    found = models.Span.model_validate_json(answer.content)
    assert found.attributes == attributes
    assert (found.trace_state, found.dropped_events_count, found.others) == ("k=v", 2, [])
    assert found.events[0].model_dump() == {
        "time_ns": 1_700_000_000_000_000_007, "name": "e", "attributes": attributes, "dropped_attributes_count": 0,
    }  # fmt: skip
    assert found.links[0].trace_id == T2
    assert found.links[0].attributes == attributes
    assert found.resource.attributes[0]["value"] == {"stringValue": "web"}
    assert found.instrumentation_scope.name == "test"


async def test_spans_that_share_an_id_are_all_told(api: Api, state: str) -> None:
    """Lost otherwise: one side of a call that Zipkin's clients and servers report under one id."""
    await api.store(otlp([span(1, kind=3), span(1, kind=2, name="server side")]), state=state)
    found = models.Span.model_validate_json((await api.get(f"/api/v1/traces/{T1}/spans/{1:016x}")).content)
    assert sorted([found.kind, *(other.kind for other in found.others)]) == ["client", "server"]
    assert len((await api.get(f"/api/v1/traces/{T1}")).json()["spans"]) == 2


async def test_a_later_version_replaces_an_earlier_one(api: Api, state: str) -> None:
    """Lost otherwise: honest counts, wherever spans are sent at their start and again at their end."""
    begun = {k: v for k, v in span(1).items() if k != "endTimeUnixNano"}
    await api.store(otlp([begun]), state=state)
    assert (await api.get(f"/api/v1/traces/{T1}")).json()["spans"][0]["duration_ns"] is None
    await api.store(otlp([span(1)]), state=state)
    trace = (await api.get(f"/api/v1/traces/{T1}")).json()
    assert [s["duration_ns"] for s in trace["spans"]] == [500]
    (item,) = (await api.get("/api/v1/traces")).json()["items"]
    assert item == {name: trace["summary"][name] for name in item}


async def test_the_whole_trace_reads_back_as_it_was_sent(api: Api, state: str) -> None:
    """Lost otherwise: the promise that nothing is locked in."""
    request = otlp([span(n, attributes=[{"key": "i", "value": {"intValue": str(n)}}]) for n in range(1, 41)])
    await api.store(request, state=state)
    back = (await api.get(f"/api/v1/traces/{T1}", format="otlp")).json()
    spans = [s for r in back["resourceSpans"] for c in r["scopeSpans"] for s in c["spans"]]
    sent = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert [_plain(s) for s in spans] == [_plain(s) for s in sent]
    assert {json.dumps(r["resource"]) for r in back["resourceSpans"]} == {
        json.dumps(request["resourceSpans"][0]["resource"])
    }


async def test_the_export_holds_every_trace_once_a_line_each(api: Api, state: str) -> None:
    """Lost otherwise: a way out with all data."""
    await api.store(otlp([span(n, trace=t) for t in range(1, 101) for n in (1, 2)]), state=state)
    lines = (await api.get("/api/v1/export")).text.splitlines()
    traces = [{s["traceId"] for r in json.loads(line)["resourceSpans"] for c in r["scopeSpans"] for s in c["spans"]}
              for line in lines]  # fmt: skip
    assert [ids.pop() for ids in traces] == [f"{t:032x}" for t in range(100, 0, -1)]


async def test_a_simple_trace_needs_no_opentelemetry(api: Api, state: str) -> None:
    """Lost otherwise: the people who have curl, and nothing else."""
    sent = await api.store({"name": "answer", "children": [{"name": "chat", "output_tokens": 3}]}, state=state)
    page = (await api.get(f"/api/v1/traces/{sent['trace_ids'][0]}")).json()
    assert {s["name"]: s["orphan"] for s in page["spans"]} == {"answer": False, "chat": False}
    assert page["summary"]["output_tokens"] == 3


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in given.items() if v not in ("", [], 0)}
