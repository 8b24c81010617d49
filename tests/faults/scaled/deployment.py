"""A deployment in parts, each a process of its own, on Kafka, MinIO, PostgreSQL and Redis."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx

from agenttrace_adapters.kafka import KafkaQueue
from agenttrace_adapters.postgres import PostgresCatalog
from agenttrace_core.model.segment import Snapshot
from agenttrace_core.ports.adapter import Adapter
from agenttrace_server.auth import new_key
from tests.e2e.running import environment, until
from tests.faults.scaled.parts import Part
from tests.servers.fault_proxy import FaultProxy
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerProcess, free_port
from tests.servers.redis import RedisServer
from tests.servers.s3 import MinioServer

PARTITIONS = 4
FAN_IN = 4
LEASE_S = 2.0
IN_FLIGHT_BYTES = 64 << 20

A = TypeVar("A", bound=Adapter)
T = TypeVar("T")

_PROJECTS = 60
_DEFECTS = ("Traceback", "ended by a defect")


@dataclass(frozen=True)
class Project:
    """A project of a test's own, and the key that opens it."""

    name: str
    key: str
    sha256: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


@dataclass(frozen=True)
class Servers:
    """The servers that a deployment is on, and the proxy through which it reaches MinIO."""

    kafka: KafkaServer
    minio: MinioServer
    postgres: PostgresServer
    redis: RedisServer
    proxy: FaultProxy

    def restore(self) -> None:
        """Bring all of them up, and heal the proxy."""
        self.proxy.heal()
        servers: tuple[ServerProcess, ...] = (self.kafka, self.minio, self.postgres, self.redis)
        for server in servers:
            server.restore()


class Deployment:
    """Two of ``ingest`` and ``write``, a ``query`` and a ``compact``, with a topic, bucket and database of their own.

    ``compact`` runs only where a test starts it, so that there is a time before compaction.
    """

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.servers = servers
        self.topic = f"faults-{uuid.uuid4().hex[:12]}"
        self.bucket = servers.minio.place.new_bucket()
        self._stack = ExitStack()
        self._client = self._stack.enter_context(httpx.Client(timeout=30))
        self.metadata = self._stack.enter_context(servers.postgres.place.new_database())
        cache = self._stack.enter_context(servers.redis.place.new_database())
        every = [Project(name, *new_key(name)) for name in (f"p{number}" for number in range(_PROJECTS))]
        self._unused = iter(every)
        self.queue = servers.kafka.place.url(self.topic, f"partitions={PARTITIONS}")
        variables = environment(
            **servers.proxy.place.environment(),
            AGENTTRACE_QUEUE=self.queue,
            AGENTTRACE_STORAGE=self.bucket.url(),
            AGENTTRACE_METADATA=self.metadata,
            AGENTTRACE_CACHE=cache,
            AGENTTRACE_AUTH__KEYS=json.dumps([{"project": p.name, "sha256": p.sha256} for p in every]),
            AGENTTRACE_INGEST__MAX_IN_FLIGHT_BYTES=str(IN_FLIGHT_BYTES),
            AGENTTRACE_INGEST__PROJECT_BYTES_PER_S="1GiB",
            AGENTTRACE_WRITE__FLUSH_AGE="1s",
            AGENTTRACE_WRITE__LEASE=f"{LEASE_S}s",
            AGENTTRACE_COMPACT__FAN_IN=str(FAN_IN),
            AGENTTRACE_COMPACT__INTERVAL="100ms",
            AGENTTRACE_COMPACT__GRACE="20s",
        )

        def part(name: str, *command: str, **more: str) -> Part:
            return Part(name, folder, command, {**variables, **more})

        ports = [free_port() for _ in range(3)]
        self.doors = [f"http://127.0.0.1:{port}" for port in ports[:2]]
        self.api = f"http://127.0.0.1:{ports[2]}"
        self.ingests = [
            part(f"ingest-{n}", "ingest", "--otlp-port", str(port), "--grpc-port", "0")
            for n, port in enumerate(ports[:2])
        ]
        self.writers = [part(f"write-{n}", "write") for n in range(2)]
        self.query = part("query", "query", "--port", str(ports[2]))
        self.compact = part("compact", "compact")

    @property
    def parts(self) -> Sequence[Part]:
        return *self.ingests, *self.writers, self.query, self.compact

    @property
    def running(self) -> Sequence[Part]:
        """Those that run all the time."""
        return self.parts[:-1]

    def start(self) -> None:
        """Start all but ``compact``, and what does not run of it, as it should be; wait until all of them serve."""
        for part in self.parts:
            if part.is_special:
                part.destroy()
            part.resume()
        for part in self.running:
            part.launch()
        for part in self.running:
            part.wait_ready()

    def new_project(self) -> Project:
        """Return a project that no other test has."""
        return next(self._unused)

    def ask(self, project: Project, path: str, **query: Any) -> Any:
        """Return the JSON at a path of the API.

        Raises:
            httpx.HTTPError: it does not answer, or not with 200.
        """
        answer = self._client.get(self.api + path, params=query, headers=project.headers)
        assert answer.status_code != 500, f"{path}: {answer.text}"
        answer.raise_for_status()
        return answer.json()

    def snapshot(self) -> Snapshot:
        """Return the catalog at this moment."""
        return _with(PostgresCatalog.from_url(self.metadata), lambda catalog: catalog.snapshot())

    def ends(self) -> Mapping[int, int]:
        """Return how far the topic goes at this moment, by partition."""
        return _with(KafkaQueue.from_url(self.queue), lambda queue: queue.end_offsets())

    def wait_written(self) -> None:
        """Wait until all that is in the topic now is in files."""
        ends = self.ends()

        def is_written() -> bool:
            watermarks = self.snapshot().watermarks
            return all(watermarks.get(partition, 0) >= end for partition, end in ends.items())

        until(is_written)

    def logs(self) -> Mapping[str, str]:
        """Return what each part has said."""
        return {part.name: part.log() for part in self.parts}

    def defects(self) -> list[str]:
        """Return what parts said that only a defect makes them say."""
        return [
            f"{name}: {line[:4000]}"
            for name, log in self.logs().items()
            for line in log.splitlines()
            if any(defect in line for defect in _DEFECTS)
        ]

    def destroy(self) -> None:
        """End all parts, and remove what they had."""
        for part in self.parts:
            part.destroy()
        self._stack.close()


def _with(adapter: A, ask: Callable[[A], Awaitable[T]]) -> T:
    async def run() -> T:
        await adapter.open()
        try:
            return await ask(adapter)
        finally:
            await adapter.aclose()

    with ThreadPoolExecutor(1) as thread:  # the caller may have an event loop
        return thread.submit(anyio.run, run).result()
