"""AgentTrace in parts, on Kafka, MinIO, PostgreSQL and Redis, all of it on this machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from agenttrace_adapters.kafka import KafkaQueue
from tests.benchmarks import server
from tests.benchmarks.ledger import FILES, OBJECTS, WATERMARKS, Ledger, ledger_of
from tests.e2e.running import environment
from tests.faults.scaled.parts import Part
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerProcess, free_port
from tests.servers.programs import MissingProgramError
from tests.servers.redis import RedisServer
from tests.servers.s3 import MinioServer

PARTITIONS = 4
_TOPIC = "spans"


def process_name(command: list[str]) -> str:
    """Name a process by its part, or by the server that it is of."""
    joined = " ".join(command)
    for name in ("kafka", "minio", "postgres", "redis"):
        if name in joined:
            return name
    return server.process_name(command)


@dataclass(frozen=True)
class Backends:
    """The four servers, which ``backends`` starts and ends."""

    kafka: KafkaServer
    minio: MinioServer
    postgres: PostgresServer
    redis: RedisServer

    @property
    def all(self) -> Sequence[ServerProcess]:
        return self.kafka, self.minio, self.postgres, self.redis


@contextlib.contextmanager
def backends() -> Iterator[Backends]:
    """Start Kafka, MinIO, PostgreSQL and Redis; they and their data end with the block.

    Raises:
        RuntimeError: one of them cannot be had here; the message says how it could.
    """
    with contextlib.ExitStack() as stack:
        try:
            found = Backends(KafkaServer(), MinioServer(), PostgresServer(), RedisServer())
        except MissingProgramError as error:
            raise RuntimeError(str(error)) from error
        for each in found.all:
            stack.callback(each.destroy)
        for each in found.all:
            each.start()
        yield found


class Apart:
    """One of ``ingest``, ``query`` and ``compact``, and some of ``write``, each a process with a folder of its own."""

    def __init__(self, folder: Path, on: Backends, metadata: str, *, writers: int, options: Mapping[str, str]) -> None:
        ports = free_port(), free_port()
        self.otlp_url, self.api_url = f"http://127.0.0.1:{ports[0]}/v1/traces", f"http://127.0.0.1:{ports[1]}"
        self._backends, self._metadata = on, metadata
        self._queue_url = on.kafka.place.url(f"{_TOPIC}-{folder.name}", f"partitions={PARTITIONS}")
        self._queue = KafkaQueue.from_url(self._queue_url)
        variables = environment(
            **on.minio.place.environment(),
            AGENTTRACE_QUEUE=self._queue_url,
            AGENTTRACE_STORAGE=on.minio.place.new_bucket().url(),
            AGENTTRACE_METADATA=metadata,
            AGENTTRACE_CACHE=f"{on.redis.place.url}/0",
            **{"AGENTTRACE_" + key.upper().replace(".", "__"): value for key, value in options.items()},
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.ingest = Part("ingest", folder, ["ingest", "--otlp-port", str(ports[0]), "--grpc-port", "0"], variables)
        self.query = Part("query", folder, ["query", "--port", str(ports[1])], variables)
        self._parts = [
            self.ingest, self.query, Part("compact", folder, ["compact"], variables),
            *(Part(f"write-{number}", folder, ["write"], variables) for number in range(writers)),
        ]  # fmt: skip

    @property
    def pids(self) -> Sequence[int]:
        """All parts, and all servers."""
        return [part.pid for part in self._parts] + [server.pid for server in self._backends.all]

    @property
    def process_name(self) -> Callable[[list[str]], str]:
        """Names parts and servers."""
        return process_name

    async def open(self) -> None:
        """Start all parts, and return once they serve."""
        for part in self._parts:
            part.launch()
        for part in self._parts:
            await asyncio.to_thread(part.wait_ready)
        await self._queue.open()

    async def aclose(self) -> None:
        """End all parts in order; those that do not are killed."""
        await self._queue.aclose()
        try:
            await asyncio.gather(*(asyncio.to_thread(part.stop) for part in self._parts if part.runs))
        finally:
            for part in self._parts:
                part.destroy()

    async def look(self) -> Ledger:
        """Return what the catalog and the topic hold now; the backlog is in records, not in bytes."""
        connection = await asyncpg.connect(self._metadata, server_settings={"search_path": "agenttrace"})
        try:
            segments = [tuple(row) for row in await connection.fetch(FILES)]
            sizes = {role: int(size) for role, size in await connection.fetch(OBJECTS)}
            watermarks = dict(map(tuple, await connection.fetch(WATERMARKS)))
        finally:
            await connection.close()
        return ledger_of(segments, sizes, watermarks, await self._queue.end_offsets())


@contextlib.asynccontextmanager
async def running(
    folder: Path, on: Backends, *, writers: int, options: Mapping[str, str] | None = None
) -> AsyncIterator[Apart]:
    """Start all parts, with a topic, bucket and database of their own, and end them in order after the block."""
    with on.postgres.place.new_database() as metadata:
        apart = Apart(folder, on, metadata, writers=writers, options=options or {})
        try:
            await apart.open()
            yield apart
        finally:
            await apart.aclose()
