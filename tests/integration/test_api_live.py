"""Spans as they arrive: all of them, once, as the question asks, whoever reads and whatever the writer does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agenttrace_core.services.write import WriteConfig
from agenttrace_server.query import models
from agenttrace_server.query.patience import QueryLimits
from tests.integration.api import AT_ONCE, LATER, Api, as_project, open_api, otlp, span

pytestmark = pytest.mark.anyio

# Rows leave the live table long before anybody looks again.
HASTY = WriteConfig(flush_age_s=0.005, chunk_interval_s=0.001)


class Stream:
    """An open stream of events."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.last_id = ""

    async def spans(self, count: int) -> list[dict[str, Any]]:
        """Return the next spans; every one fits the model."""
        told: list[dict[str, Any]] = []
        async for line in self._lines:
            if line.startswith("id: "):
                self.last_id = line.removeprefix("id: ")
            if line.startswith("data: "):
                told.append(models.FoundSpan.model_validate_json(line.removeprefix("data: ")).model_dump())
            if len(told) == count and not line:
                return told
        raise AssertionError(f"the stream ended after {len(told)} of {count} spans")

    async def silence(self, seconds: float) -> None:
        """Assert that nothing is told for a while."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                print(await self.spans(1))


@asynccontextmanager
async def listening(api: Api, project: str | None = None, **query: str) -> AsyncIterator[Stream]:
    headers = {**as_project(project), **{k.replace("_", "-"): v for k, v in query.items() if k == "last_event_id"}}
    params = {k: v for k, v in query.items() if k != "last_event_id"}
    async with asyncio.timeout(60), api.client.stream("GET", "/api/v1/live", headers=headers, params=params) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert (await anext(lines)).startswith(":")
        yield Stream(lines)


@pytest.mark.parametrize("write", [LATER, HASTY], ids=["live", "in files at once"])
async def test_every_span_is_told_once_however_quickly_the_live_table_becomes_files(
    tmp_path: Path, write: WriteConfig
) -> None:
    """Lost otherwise: the spans that came and went between two looks, which nobody would ever miss."""
    async with open_api(tmp_path, write) as api:
        await api.store(otlp([span(1)]))
        async with listening(api) as stream:
            for first in range(100, 700, 20):
                numbers = range(first, first + 20)
                assert (await api.post(otlp([span(n) for n in numbers]))).status_code == 200
                await asyncio.sleep(0.02)
            told = [row["name"] for row in await stream.spans(600)]
            await stream.silence(0.5)
    assert told == [f"span {n}" for n in range(100, 700)]


async def test_one_project_never_hears_another(tmp_path: Path) -> None:
    """Lost otherwise: what is said in one project's room, to whoever listens in the next."""
    async with open_api(tmp_path, AT_ONCE) as api, listening(api, "red") as stream:
        await api.store(otlp([span(5)]), "blue")
        await api.store(otlp([span(7)]), "red")
        (row,) = await stream.spans(1)
        await stream.silence(0.3)
    assert row["name"] == "span 7"


async def test_the_question_chooses_what_is_told(tmp_path: Path) -> None:
    """Lost otherwise: one failing span among thousands that went well."""
    failed = {"status": {"code": 2, "message": "no"}}
    async with open_api(tmp_path, AT_ONCE) as api, listening(api, q="status:error name:span*") as stream:
        await api.store(otlp([span(1), span(2, **failed), span(3), span(4, name="other", **failed)]))
        (row,) = await stream.spans(1)
        await stream.silence(0.3)
    assert row["span_id"] == f"{2:016x}"


async def test_what_only_the_payload_says_is_found_too(tmp_path: Path) -> None:
    """Lost otherwise: spans by what was said in them beyond the first 200 characters."""
    long = [{"key": "note", "value": {"stringValue": "x" * 400 + " refund"}}]
    async with open_api(tmp_path, AT_ONCE) as api, listening(api, q="payload:REFUND") as stream:
        await api.store(otlp([span(1), span(2, attributes=long)]))
        (row,) = await stream.spans(1)
        await stream.silence(0.2)
    assert row["name"] == "span 2"


async def test_a_running_span_is_told_and_told_again_when_it_has_ended_but_not_when_it_is_only_sent_again(
    tmp_path: Path,
) -> None:
    """Lost otherwise: what goes on right now; or the reader's count of spans, which retries would swell."""
    begun = {k: v for k, v in span(1).items() if k != "endTimeUnixNano"}
    other = span(2)
    async with open_api(tmp_path, AT_ONCE) as api, listening(api) as stream:
        await api.store(otlp([begun]))
        (first,) = await stream.spans(1)
        await api.store(otlp([span(1)]))
        (second,) = await stream.spans(1)
        # Another body, so that the writer sees it, and the same span in it.
        await api.store(otlp([span(1), other]))
        (third,) = await stream.spans(1)
        await stream.silence(0.3)
    assert (first["quality"], first["duration_ns"]) == (["no_end"], None)
    assert (second["span_id"], second["quality"], second["duration_ns"]) == (first["span_id"], [], 500)
    assert third["span_id"] == other["spanId"]


async def test_a_reader_goes_on_from_the_last_event_it_saw(tmp_path: Path) -> None:
    """Lost otherwise: what came while a browser's connection was away for a moment."""
    async with open_api(tmp_path, HASTY) as api:
        async with listening(api) as stream:
            await api.store(otlp([span(1), span(2)]))
            await stream.spans(2)
        await api.store(otlp([span(n) for n in range(3, 40)]), state="in_files")
        for how in ("last_event_id", "after"):
            async with listening(api, **{how: stream.last_id}) as again:
                told = [row["name"] for row in await again.spans(37)]
                await again.silence(0.2)
            assert told == [f"span {n}" for n in range(3, 40)]
        answer = await api.get("/api/v1/live", "red", after=stream.last_id)
        assert answer.status_code == 400


@pytest.mark.parametrize("q", ["status:", "trace.duration>2s", "{a} >> {b}", "modle:x", "score.helpful>1"])
async def test_what_cannot_be_asked_of_a_stream_is_refused_before_it_begins(tmp_path: Path, q: str) -> None:
    """Lost otherwise: a stream that stays silent for ever, for a reason that nobody is told."""
    async with open_api(tmp_path, LATER) as api:
        answer = await api.get("/api/v1/live", q=q)
    assert answer.status_code == 400
    assert json.loads(answer.content)["error"]["message"]


async def test_so_many_streams_and_no_more(tmp_path: Path) -> None:
    """Lost otherwise: the server, to a page that opens a stream at each click."""
    async with open_api(tmp_path, LATER, QueryLimits(streams=2)) as api:
        async with listening(api), listening(api):
            answer = await api.get("/api/v1/live")
            assert (answer.status_code, answer.json()["error"]["kind"]) == (429, "overloaded")
            assert int(answer.headers["retry-after"]) >= 1
            assert (await api.get("/api/v1/export")).status_code == 429
        async with asyncio.timeout(10):
            while True:  # the server hears of the end a moment later
                try:
                    async with listening(api):
                        break
                except AssertionError:
                    await asyncio.sleep(0.05)
