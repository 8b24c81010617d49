"""A real API on a free port of this machine, with a real writer behind it, in one folder."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from agenttrace_adapters.duckdb import DuckDBIndex
from agenttrace_adapters.filesystem import FilesystemLiveTable, FilesystemStorage
from agenttrace_adapters.locallog import LocalLogQueue
from agenttrace_adapters.sqlite import SqliteCatalog
from agenttrace_core.services.admission import Admission, IngestLimits
from agenttrace_core.services.analytics import AnalyticsService
from agenttrace_core.services.appender import Appender
from agenttrace_core.services.arrivals import ArrivalService
from agenttrace_core.services.ask import AskService
from agenttrace_core.services.complete import CompletionService
from agenttrace_core.services.entities import EntityService
from agenttrace_core.services.error_groups import ErrorGroupService
from agenttrace_core.services.ingest import IngestService
from agenttrace_core.services.letters import LetterService
from agenttrace_core.services.queries import logs_of, queries_of
from agenttrace_core.services.read import ReadService
from agenttrace_core.services.refusals import Refusals
from agenttrace_core.services.score_figures import ScoreFiguresService
from agenttrace_core.services.scores import ScoreService
from agenttrace_core.services.sound_files import SoundFiles
from agenttrace_core.services.view import PublishedViews, Views
from agenttrace_core.services.write import WriteConfig, WriteService
from agenttrace_server.auth import Authenticator
from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.ingestion.metrics import DoorMetrics
from agenttrace_server.query.app import make_api_app
from agenttrace_server.query.patience import Patience, QueryLimits
from agenttrace_server.query.serve import serve
from agenttrace_server.query.services import ApiServices

KEYS = {"red": "key-of-red", "blue": "key-of-blue"}
LATER = WriteConfig(flush_age_s=3600, chunk_interval_s=0.01)
LIMITS = QueryLimits()
AT_ONCE = WriteConfig(flush_age_s=0.05, chunk_interval_s=0.01)


@dataclass
class Api:
    """An open API, and clients of it."""

    url: str
    queue: LocalLogQueue
    client: httpx.AsyncClient = field(repr=False)
    parts: dict[str, bool] = field(default_factory=lambda: {"write": True})

    async def get(self, path: str, project: str | None = None, **query: Any) -> httpx.Response:
        """Ask as a project's key, or as a caller from this machine."""
        return await self.client.get(path, params=query or None, headers=as_project(project))

    async def post(self, body: Any, project: str | None = None, **headers: str) -> httpx.Response:
        """Send a JSON body to the API's own door."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **headers, **as_project(project)}
        return await self.client.post("/api/v1/traces", content=content, headers=sent)

    async def readable(self, receipt: str, project: str | None = None, *, state: str = "readable") -> dict[str, Any]:
        """Wait until what a receipt stands for is in the state wanted, and return the receipt."""
        async with asyncio.timeout(10):
            while True:
                told = (await self.get(f"/api/v1/receipts/{receipt}", project)).json()
                if told[state]:
                    return dict(told)
                await asyncio.sleep(0.01)

    async def store(self, body: Any, project: str | None = None, *, state: str = "readable") -> dict[str, Any]:
        """Send a body, and return the answer once all of it is readable."""
        answer = await self.post(body, project)
        assert answer.status_code == 200, answer.text
        await self.readable(answer.headers["agenttrace-receipt"], project, state=state)
        return dict(answer.json())


def as_project(project: str | None) -> dict[str, str]:
    """Return the headers of a caller who has a project's key."""
    return {} if project is None else {"authorization": f"Bearer {KEYS[project]}"}


@asynccontextmanager
async def open_api(folder: Path, write: WriteConfig | None = LATER, limits: QueryLimits = LIMITS) -> AsyncIterator[Api]:
    """Open everything that a server has, but for the OTLP doors; ``write`` None leaves the writer out."""
    queue = LocalLogQueue.from_url(f"log:{folder}/log")
    storage = FilesystemStorage.from_url(f"file:{folder}/objects")
    catalog = SqliteCatalog.from_url(f"sqlite:{folder}/catalog.sqlite")
    live = FilesystemLiveTable(folder / "live")
    writers_index, index = DuckDBIndex.from_url("duckdb:?threads=1"), DuckDBIndex.from_url("duckdb:?threads=1")
    async with AsyncExitStack() as stack:
        for each in (writers_index, index):
            each.attach(storage)
        for adapter in (queue, storage, catalog, live, writers_index, index):
            stack.push_async_callback(adapter.aclose)
            await adapter.open()
        if write is not None:
            writer = WriteService(
                queue=queue, catalog=catalog, storage=storage, live=live, index=writers_index, config=write
            )
            await stack.enter_async_context(_running(writer.run()))
        receipts, cursors = await catalog.secret("receipts"), await catalog.secret("cursors")
        bounds = IngestLimits()
        admission, appender = Admission(bounds), Appender(queue)
        ingest = IngestService(
            appender, receipts, admission=admission, refusals=Refusals(appender, bounds), metrics=DoorMetrics(admission)
        )
        await stack.enter_async_context(_running(ingest.run()))
        parts: dict[str, bool] = {"write": True}

        async def told_parts() -> Mapping[str, bool]:
            return parts

        sound = SoundFiles(catalog, storage)
        views, queries = Views(PublishedViews(catalog, live), queue, sound=sound), queries_of(index)
        read = ReadService(views, index, receipt_key=receipts, cursor_key=cursors)
        config, stop = DoorConfig(), asyncio.Event()
        services = ApiServices(
            read=read,
            ask=AskService(read, index, cursor_key=cursors),
            analytics=AnalyticsService(views, queries),
            entities=EntityService(views, queries, cursor_key=cursors),
            error_groups=ErrorGroupService(views, queries, cursor_key=cursors),
            scores=ScoreService(views, logs_of(index), ingest, cursor_key=cursors),
            score_figures=ScoreFiguresService(views, queries, logs_of(index)),
            complete=CompletionService(views, index),
            arrivals=ArrivalService(read, index, cursor_key=cursors),
            patience=Patience(limits, sound),
            ingest=ingest,
            letters=LetterService(catalog, storage, ingest),
            parts=told_parts,
            stopping=stop.is_set,
        )
        keys = [(project, hashlib.sha256(key.encode()).hexdigest()) for project, key in KEYS.items()]
        app = make_api_app(services, Authenticator(keys, bind_host="127.0.0.1"), config)
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started = asyncio.Event()
        serving = asyncio.create_task(serve(app, config, listener, started=started.set, stop=stop))
        await started.wait()
        try:
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
                yield Api(url, queue, client, parts)
        finally:
            stop.set()
            await serving


@asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def otlp(spans: Sequence[Mapping[str, Any]], service: str = "web") -> dict[str, Any]:
    """Return an OTLP/JSON request."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "test"}, "spans": [*spans]}]}]}


def span(number: int, trace: int = 1, **values: Any) -> dict[str, Any]:
    """Return an OTLP/JSON span; the first of a trace is its root, and the parent of the others."""
    start = 1_700_000_000_000_000_000 + number * 1_000
    made: dict[str, Any] = {
        "traceId": f"{trace:032x}", "spanId": f"{number:016x}", "name": f"span {number}", "kind": 1,
        "startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 500),
    }  # fmt: skip
    if number > 1:
        made["parentSpanId"] = f"{1:016x}"
    return made | values
