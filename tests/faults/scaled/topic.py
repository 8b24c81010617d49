"""Records put straight into the topic, as a Collector does, or somebody who should not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from tests.faults.scaled.deployment import Deployment


@dataclass(frozen=True)
class Put:
    """A record: its partition, value, the project that our headers name (None: no such headers), other headers."""

    partition: int
    value: bytes | None
    project: str | None
    headers: Mapping[str, bytes] = field(default_factory=dict)


def put(deployment: Deployment, records: Sequence[Put]) -> None:
    """Put records into the topic, one after the other."""

    async def run() -> None:
        async with AIOKafkaProducer(bootstrap_servers=deployment.servers.kafka.address) as producer:
            for record in records:
                headers = {**_ours(record.project), **record.headers}
                await producer.send_and_wait(
                    deployment.topic, record.value, b"key", partition=record.partition, headers=list(headers.items())
                )

    with ThreadPoolExecutor(1) as thread:  # the caller may have an event loop
        thread.submit(asyncio.run, run()).result()


def _ours(project: str | None) -> dict[str, bytes]:
    if project is None:
        return {}
    return {
        "agenttrace-project": project.encode(),
        "agenttrace-signal": b"traces",
        "agenttrace-received-ns": b"%d" % time.time_ns(),
    }
