"""The topic: made at the first start, and read how it is set at every start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest

from agenttrace_adapters.kafka.cluster import Cluster, Layout
from agenttrace_adapters.kafka.connections import ADMIN
from agenttrace_adapters.kafka.options import DEFAULT_PARTITIONS, KafkaOptions
from agenttrace_adapters.kafka.protocol import Code, RefusedError, error_name
from agenttrace_core.errors import ConfigurationError, NotFoundError, UnavailableError

_log = logging.getLogger(__name__)

_TOPIC_RESOURCE = 2
_SET_ON_TOPIC = 1
_READY_S = 15.0
_AGAIN_S = 0.1
_SEGMENT_BYTES = 128 << 20
_SAFE_MESSAGE_BYTES = 1_000_000
_READ = ["cleanup.policy", "max.message.bytes", "message.timestamp.type", "retention.bytes", "retention.ms"]


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """How the topic is set. ``retention_ms`` and ``retention_bytes`` are None where it keeps everything."""

    topic_id: UUID
    max_message_bytes: int
    retention_ms: int | None
    retention_bytes: int | None
    is_ours: bool
    """It says itself that it keeps everything until it is deleted: nobody but us makes room in it."""


async def ready_topic(cluster: Cluster, options: KafkaOptions, *, make: bool) -> TopicFacts:
    """Make the topic if it is not there, wait until all its partitions have leaders, and read how it is set.

    Raises:
        NotFoundError: it is not there, and is not to be made.
        ConfigurationError: it cannot be made, or be used as it is.
        UnavailableError: it is not ready in time.
    """
    if cluster.layout.topic_error == Code.UNKNOWN_TOPIC:
        if not make:
            raise NotFoundError(f"the topic {options.topic} is not there yet")
        await _make(cluster, options)
    layout = await _led(cluster, options)
    if options.partitions not in (None, len(layout.leaders)):
        _log.warning(
            "the topic %s has %d partitions, and goes on with them: the option partitions=%d is for when it is made",
            options.topic, len(layout.leaders), options.partitions,
        )  # fmt: skip
    if layout.topic_id == UUID(int=0):
        raise ConfigurationError("queue: the brokers give topics no ids, by which ours is known: Kafka 2.8 does")
    return await _facts(cluster, options, layout.topic_id)


async def _make(cluster: Cluster, options: KafkaOptions) -> None:
    brokers = len(cluster.layout.brokers)
    partitions, replication = _partitions(options), options.replication or min(3, brokers)
    settings = _settings(options, replication)
    request = CreateTopicsRequest(
        [(options.topic, partitions, replication, [], sorted(settings.items()))], 30_000, validate_only=False
    )
    answer = await cluster.ask_controller(request)
    _, code, said = answer.topic_errors[0]
    if code == Code.NONE:
        _log.info(
            "made the topic %s with %d partitions and replication %d: %s",
            options.topic, partitions, replication, ", ".join(f"{k}={v}" for k, v in sorted(settings.items())),
        )  # fmt: skip
    elif code != Code.TOPIC_EXISTS:
        refused = RefusedError(f"the topic {options.topic} is not there and cannot be made", code, said)
        if refused.passes:
            raise refused
        raise ConfigurationError(f"queue: {refused}. Make it yourself, or change the options partitions, replication "
                                 f"and max_message_bytes: {_command(options, replication, settings)}")  # fmt: skip


def _settings(options: KafkaOptions, replication: int) -> dict[str, str]:
    """What a topic of ours is made with. A record stays until it is in files, and is deleted by us then."""
    settings = {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(options.max_message_bytes),
        # The brokers' clocks, so that a sender whose clock is off by a day is not refused.
        "message.timestamp.type": "LogAppendTime",
        # What was written is deleted by whole segments.
        "segment.bytes": str(max(_SEGMENT_BYTES, options.max_message_bytes)),
        "unclean.leader.election.enable": "false",
    }
    if replication >= 3:
        settings["min.insync.replicas"] = "2"
    return settings


def _partitions(options: KafkaOptions) -> int:
    return options.partitions or DEFAULT_PARTITIONS


def _command(options: KafkaOptions, replication: int, settings: Mapping[str, str]) -> str:
    given = " ".join(f"--config {k}={v}" for k, v in sorted(settings.items()))
    return (
        f"kafka-topics.sh --bootstrap-server {options.servers[0]} --create --topic {options.topic} "
        f"--partitions {_partitions(options)} --replication-factor {replication} {given}"
    )


async def _led(cluster: Cluster, options: KafkaOptions) -> Layout:
    """Wait until every partition is led by a broker."""
    try:
        async with asyncio.timeout(_READY_S):
            while True:
                layout = cluster.layout
                if layout.topic_error not in (Code.NONE, Code.UNKNOWN_TOPIC):
                    refused = RefusedError(f"the topic {options.topic}", layout.topic_error)
                    if not refused.passes:
                        raise ConfigurationError(f"queue: {refused}")
                if layout.leaders and min(layout.leaders.values()) >= 0:
                    return layout
                await asyncio.sleep(_AGAIN_S)
                await cluster.looked()
    except TimeoutError as error:
        without = [p for p, leader in sorted(cluster.layout.leaders.items()) if leader < 0]
        raise UnavailableError(
            f"the topic {options.topic} is not ready: partitions without a leader: {without or 'all'}"
        ) from error


async def _facts(cluster: Cluster, options: KafkaOptions, topic_id: UUID) -> TopicFacts:
    layout = cluster.layout
    answer = await cluster.ask(
        next(iter(layout.brokers)), ADMIN, DescribeConfigsRequest([(_TOPIC_RESOURCE, options.topic, _READ)])
    )
    code, said, _, _, entries = answer.resources[0]
    if code != Code.NONE:
        _log.warning(
            "the settings of the topic %s cannot be read (%s): records of up to %d bytes are put into it, and "
            "nothing is deleted from it; allow DescribeConfigs on it", options.topic, said or error_name(code),
            _SAFE_MESSAGE_BYTES,
        )  # fmt: skip
        return TopicFacts(topic_id, _SAFE_MESSAGE_BYTES, None, None, is_ours=False)
    values = {name: value for name, value, *_ in entries}
    on_topic = {name for name, _, _, source, *_ in entries if source == _SET_ON_TOPIC}
    if "compact" in values["cleanup.policy"]:
        raise ConfigurationError(
            f"queue: the topic {options.topic} has cleanup.policy={values['cleanup.policy']}: it would forget records; "
            "set it to delete, or name another topic"
        )
    retention_ms, retention_bytes = int(values["retention.ms"]), int(values["retention.bytes"])
    return TopicFacts(
        topic_id,
        int(values["max.message.bytes"]),
        None if retention_ms < 0 else retention_ms,
        None if retention_bytes < 0 else retention_bytes,
        is_ours=retention_ms < 0 and retention_bytes < 0 and "retention.ms" in on_topic,
    )
