"""Scores through the API. Lost otherwise: a verdict that was acknowledged, or one that nobody gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from agenttrace_core.ports.queue import Headers, Signal
from agenttrace_server.query import models
from tests.faults.events import EventSpec, logs_request, score
from tests.integration.api import AT_ONCE, Api, as_project, open_api, otlp, span

pytestmark = pytest.mark.anyio

TRACE, SPAN = f"{1:032x}", f"{2:016x}"
OTHER = f"{7:032x}"
START = 1_700_000_000_000_000_000


async def give(api: Api, body: Any, project: str | None = None, *, status: int = 200) -> dict[str, Any]:
    """Post scores, and return the answer once they are readable."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **as_project(project)}
    answer = await api.client.post("/api/v1/scores", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    if status == 200:
        await api.readable(answer.headers["agenttrace-receipt"], project)
        models.ScoresSent.model_validate(answer.json())
    return dict(answer.json())


async def scores(api: Api, project: str | None = None, **query: Any) -> list[dict[str, Any]]:
    answer = await api.get("/api/v1/scores", project, **query)
    assert answer.status_code == 200, answer.text
    return models.ScoreListing.model_validate(answer.json()).model_dump()["items"]


async def test_a_score_is_seen_at_once_on_its_span_its_trace_and_its_list(tmp_path: Path) -> None:
    async with open_api(tmp_path) as api:
        await api.store(otlp([span(1), span(2)]))
        sent = await give(api, {"trace_id": TRACE, "span_id": SPAN, "name": "helpful", "value": True, "time": START})
        assert (sent["accepted"], sent["rejected"], sent["reason"]) == (1, 0, "")
        await give(api, {"trace_id": TRACE, "name": "tone", "label": "warm", "explanation": "kind words", "id": "t1"})
        (listed,) = await scores(api, name="helpful")
        assert listed == {
            "name": "helpful", "value": 1.0, "label": None, "trace_id": TRACE, "span_id": SPAN, "session_id": None,
            "response_id": None, "explanation": None, "source": "api", "id": None, "time_ns": START,
            "received_ns": listed["received_ns"],
        }  # fmt: skip
        trace = models.Trace.model_validate((await api.get(f"/api/v1/traces/{TRACE}")).json())
        assert [(s.name, s.label) for s in trace.scores] == [("tone", "warm"), ("helpful", None)]
        detail = models.Span.model_validate((await api.get(f"/api/v1/traces/{TRACE}/spans/{SPAN}")).json())
        assert [s.name for s in detail.scores] == ["helpful"]


async def test_a_later_score_replaces_an_earlier_before_and_after_it_is_in_files(tmp_path: Path) -> None:
    async with open_api(tmp_path, write=AT_ONCE) as api:
        for value, at in ((0.1, 1), (0.9, 3), (0.5, 2)):
            sent = await give(api, {"trace_id": TRACE, "name": "helpful", "value": value, "time": START + at})
            await api.readable(sent["receipt"], state="in_files")
        assert [s["value"] for s in await scores(api, trace_id=TRACE)] == [0.9]
        for value in (0, 1):
            await give(api, {"trace_id": TRACE, "name": "other name", "value": value, "id": "mine"})
        assert [s["value"] for s in await scores(api, trace_id=TRACE)] == [1.0, 0.9]
        await give(api, {"trace_id": TRACE, "name": "helpful", "value": 0.2, "source": "alice"})
        assert len(await scores(api, name="helpful")) == 2, "another judge is another score"


async def test_a_score_may_come_before_its_trace_and_be_of_a_session(tmp_path: Path) -> None:
    async with open_api(tmp_path) as api:
        await give(
            api, [{"trace_id": OTHER, "name": "early", "value": 1}, {"session_id": "s", "name": "mood", "value": 3}]
        )
        assert (await api.get(f"/api/v1/traces/{OTHER}")).status_code == 404
        await api.store(otlp([span(1, trace=7)]))
        trace = (await api.get(f"/api/v1/traces/{OTHER}")).json()
        assert [s["name"] for s in trace["scores"]] == ["early"]
        assert [s["name"] for s in await scores(api, session_id="s")] == ["mood"]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"name": "n", "value": 1}, "trace_id: missing"),
        ({"trace_id": TRACE, "value": 1}, "name: missing"),
        ({"trace_id": TRACE, "name": "n"}, "value: missing"),
        ({"trace_id": "zz", "name": "n", "value": 1}, "trace_id"),
        ({"trace_id": "0" * 32, "name": "n", "value": 1}, "trace_id"),
        ({"trace_id": TRACE, "span_id": "1", "name": "n", "value": 1}, "span_id"),
        ({"session_id": "s", "span_id": SPAN, "name": "n", "value": 1}, "trace_id: missing"),
        ({"trace_id": TRACE, "name": "", "value": 1}, "name"),
        ({"trace_id": TRACE, "name": "n" * 257, "value": 1}, "name"),
        ({"trace_id": TRACE, "name": "n", "value": "good"}, "value"),
        ({"trace_id": TRACE, "name": "n", "value": 10**400}, "value"),
        (b'{"trace_id": "%s", "name": "n", "value": NaN}' % TRACE.encode(), "value"),
        ({"trace_id": TRACE, "name": "n", "valeu": 1}, "did you mean 'value'"),
        ({"trace_id": TRACE, "name": "n", "value": 1, "time": "yesterday"}, "time"),
        ({"trace_id": TRACE, "name": "n", "label": ["x"]}, "label"),
        (b"[", "JSON"),
        (b"[]", "no score"),
        (b'"score"', "a score"),
        ([{}] * 10_001, "10000"),
    ],
)  # fmt: skip
async def test_a_wrong_score_is_told_by_its_field(tmp_path: Path, wrong: Any, complaint: str) -> None:
    async with open_api(tmp_path, write=None) as api:
        refused = await give(api, wrong, status=400)
        assert complaint in refused["error"]["message"]


async def test_a_wrong_score_does_not_cost_its_neighbours(tmp_path: Path) -> None:
    async with open_api(tmp_path) as api:
        sent = await give(
            api,
            [{"trace_id": TRACE, "name": "a", "value": 1}, {"name": 3}, {"trace_id": TRACE, "name": "b", "value": 1}],
        )
        assert (sent["accepted"], sent["rejected"]) == (2, 1)
        assert sent["reason"].startswith("[1].name")
        receipt = (await api.get(f"/api/v1/receipts/{sent['receipt']}")).json()
        assert (receipt["accepted"], receipt["rejected"], receipt["signal"]) == (2, 1, "logs")
        assert {s["name"] for s in await scores(api)} == {"a", "b"}


async def test_no_project_sees_anothers_scores(tmp_path: Path) -> None:
    async with open_api(tmp_path) as api:
        await give(api, {"trace_id": TRACE, "name": "mine", "value": 1, "session_id": "s"}, "red")
        assert [s["name"] for s in await scores(api, "red")] == ["mine"]
        for query in ({}, {"trace_id": TRACE}, {"session_id": "s"}, {"name": "mine"}):
            assert await scores(api, "blue", **query) == []


async def test_the_list_goes_on_where_it_ended(tmp_path: Path) -> None:
    async with open_api(tmp_path) as api:
        await give(api, [{"trace_id": TRACE, "name": f"n{i}", "value": i, "time": START} for i in range(7)])
        names: list[str] = []
        cursor = ""
        while True:
            page = (await api.get("/api/v1/scores", limit=3, cursor=cursor)).json()
            names += [s["name"] for s in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
            assert (await api.get("/api/v1/scores", "red", cursor=cursor)).status_code == 400
            assert (await api.get("/api/v1/scores", cursor=cursor, name="x")).status_code == 400
        assert names == [f"n{i}" for i in reversed(range(7))]
        assert (await api.get("/api/v1/scores", start="2020-01-01T00:00:00Z", end="2020-01-02T00:00:00Z")).json()[
            "items"
        ] == []
        assert (await api.get("/api/v1/scores", trace_id="nonsense")).status_code == 400


async def send_logs(api: Api, *events: EventSpec, project: str = "default") -> None:
    await api.queue.append(Headers(project, Signal.LOGS, START), logs_request(*events))
    await anyio.sleep(0.02)  # queries that come within a hundredth of a second of one another share a view
    while (await api.get("/api/v1/traces")).json()["partial"]:
        await anyio.sleep(0.005)


async def test_log_events_of_a_span_are_told_with_it_and_give_its_messages(tmp_path: Path) -> None:
    """Content that is sent beside the span is what most of OpenTelemetry's own instrumentations send."""
    trace, own = bytes.fromhex(TRACE), bytes.fromhex(SPAN)
    asked = EventSpec("gen_ai.user.message", trace, own, START + 5, {"content": "Where is my parcel?"})
    said = EventSpec("gen_ai.choice", trace, own, START + 9, {"message": '{"content": "In Leeds."}'})
    failed = EventSpec("gen_ai.client.operation.exception", trace, own, START + 10, {"exception.type": "TimeoutError"})
    judged = score(
        "helpful", 0.25, trace, span_id=own, time_ns=START, attributes={"gen_ai.evaluation.explanation": "curt"}
    )
    elsewhere = EventSpec("gen_ai.choice", trace, b"\x01" * 8, START, {"content": "of another span"})
    for write in (None, AT_ONCE):
        async with open_api(tmp_path / str(write is None), **({} if write is None else {"write": write})) as api:
            await api.store(otlp([span(1), span(2)]))
            await send_logs(api, said, asked, failed, judged, elsewhere)
            await send_logs(api, asked)
            detail = models.Span.model_validate((await api.get(f"/api/v1/traces/{TRACE}/spans/{SPAN}")).json())
            assert [event.name for event in detail.log_events] == [asked.name, said.name, failed.name]
            assert detail.log_events[0].scope == "tests"
            assert detail.input_messages is not None
            assert detail.input_messages[0].parts[0]["content"] == "Where is my parcel?"
            assert detail.output_messages is not None
            assert detail.output_messages[0].parts[0]["content"] == "In Leeds."
            assert detail.error_type == "TimeoutError"
            light = models.Trace.model_validate((await api.get(f"/api/v1/traces/{TRACE}")).json()).spans[1]
            assert (light.input_preview, light.output_preview) == ("Where is my parcel?", "In Leeds.")
            assert light.error_type == "TimeoutError"
            assert [(s.name, s.value, s.explanation, s.source) for s in detail.scores] == [
                ("helpful", 0.25, "curt", "tests")
            ]


async def test_scores_are_averaged_by_time_and_by_any_dimension(tmp_path: Path) -> None:
    """Lost otherwise: which model is the unhelpful one. A score counts once, however many spans its trace has."""
    async with open_api(tmp_path, write=AT_ONCE) as api:
        hour = 3_600 * 10**9
        for trace in range(4):
            model = {"key": "gen_ai.request.model", "value": {"stringValue": f"m{trace % 2}"}}
            start = str(START + trace * hour)
            spans = [
                span(n, trace=trace + 1, attributes=[model], startTimeUnixNano=start, endTimeUnixNano=start)
                for n in (1, 2, 3)
            ]
            await api.store(otlp(spans))
            ids = {"trace_id": f"{trace + 1:032x}"}
            await give(api, [
                {**ids, "name": "helpful", "value": trace / 10},
                {**ids, "name": "helpful", "value": 1, "span_id": SPAN},
                {**ids, "name": "tone", "label": "warm" if trace else "cold"},
            ])  # fmt: skip

        async def figures(**query: Any) -> list[dict[str, Any]]:
            answer = await api.get("/api/v1/analytics/scores", **query)
            assert answer.status_code == 200, answer.text
            return [row.model_dump(exclude_none=True) for row in models.ScoreFigures.model_validate(answer.json()).rows]

        (whole,) = await figures(name="helpful")
        assert whole == {"scores": 8, "mean": pytest.approx(4.6 / 8), "min": 0.0, "max": 1.0}
        by_model = await figures(name="helpful", group_by="model", q="span_id:" + f"{1:016x}")
        assert [(r["model"], r["scores"], r["mean"]) for r in by_model] == [("m0", 2, 0.1), ("m1", 2, 0.2)]
        by_hour = await figures(name="tone", bucket="1h")
        assert [r["scores"] for r in by_hour] == [1, 1, 1, 1]
        by_tone = await figures(name="helpful", group_by="score.tone")
        assert [(r["score.tone"], r["scores"]) for r in by_tone] == [("warm", 6), ("cold", 2)]
        assert await figures(name="unknown") == []
        assert (await api.get("/api/v1/analytics/scores", name="helpful", top=3)).status_code == 400
        assert (await api.get("/api/v1/analytics/scores")).status_code == 400
        usage = (await api.get("/api/v1/analytics/usage", group_by="score.tone")).json()["rows"]
        assert {(r["score.tone"], r["spans"]) for r in usage} == {("warm", 9), ("cold", 3)}
        found = (await api.get("/api/v1/traces", q="score.helpful<0.15")).json()["items"]
        assert [t["trace_id"] for t in found] == [f"{2:032x}", f"{1:032x}"]


async def test_a_session_tells_its_own_scores_and_those_of_its_traces(tmp_path: Path) -> None:
    """Lost otherwise: what was thought of a conversation, where one looks at it."""
    async with open_api(tmp_path) as api:
        named = {"key": "session.id", "value": {"stringValue": "s"}}
        await api.store(otlp([span(1, attributes=[named])]))
        await give(api, [
            {"session_id": "s", "name": "mood", "value": 3}, {"trace_id": TRACE, "name": "helpful", "value": 1},
            {"trace_id": TRACE, "session_id": "s", "name": "both", "value": 1},
            {"session_id": "t", "name": "no", "value": 1},
        ])  # fmt: skip
        page = models.EntityPage.model_validate((await api.get("/api/v1/sessions/s")).json())
        assert page.scores is not None
        assert sorted(s.name for s in page.scores) == ["both", "helpful", "mood"]
