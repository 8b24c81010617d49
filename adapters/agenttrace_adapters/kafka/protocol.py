"""What aiokafka does not say of Kafka's protocol: the topic's id, and what error codes mean to us.

Source: https://kafka.apache.org/protocol. Metadata tells ids of topics from version 10 on (Kafka 2.8).
"""

from __future__ import annotations

from enum import IntEnum
from io import BytesIO
from typing import Any
from uuid import UUID

from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from agenttrace_core.errors import UnavailableError


class NoContactError(UnavailableError):
    """No answer came. What was asked may have been done, or not."""


class StartingError(NoContactError):
    """A broker answered that it is not a member of its cluster yet, or not again."""


class RefusedError(UnavailableError):
    """A broker answered with an error code.

    Args:
        what: what was asked.
        code: the protocol's.
        said: what the broker added in words.
    """

    def __init__(self, what: str, code: int, said: str | None = None) -> None:
        super().__init__(f"{what}: {said or ''}{' ' if said else ''}({error_name(code)})")
        self.code = code

    @property
    def passes(self) -> bool:
        """Whether it mends itself: a leader moves, a broker starts."""
        return self.code in _PASSING


class Code(IntEnum):
    """The error codes that are treated each in their own way."""

    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT = 2
    UNKNOWN_TOPIC = 3
    NOT_LEADER = 6
    MESSAGE_TOO_LARGE = 10
    TOPIC_AUTHORIZATION_FAILED = 29
    CLUSTER_AUTHORIZATION_FAILED = 31
    INVALID_TIMESTAMP = 32
    TOPIC_EXISTS = 36
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE = 45
    INVALID_PRODUCER_EPOCH = 47
    UNKNOWN_PRODUCER_ID = 59


_PASSING = frozenset({
    2,   # corrupt message: of a produce request, damaged on its way
    3,   # unknown topic or partition: this broker does not know it yet
    5,   # leader not available
    6,   # not leader or follower
    7,   # request timed out: the replicas did not follow in time
    8,   # broker not available
    9,   # replica not available
    13,  # network exception
    14,  # coordinator load in progress
    15,  # coordinator not available
    16,  # not coordinator
    19,  # not enough replicas
    20,  # not enough replicas after append
    41,  # not controller
    56,  # storage error
    74,  # fenced leader epoch
    75,  # unknown leader epoch
    78,  # offset not available: of a leader that was just elected
    89,  # throttling quota exceeded
})  # fmt: skip


def error_name(code: int) -> str:
    """Return a code with its name, for people."""
    return f"{for_code(code).__name__.removesuffix('Error')}, code {code}"


class TopicId(AbstractType):
    """16 bytes, most significant first. All zero where a broker gives topics no ids."""

    @classmethod
    def encode(cls, value: UUID) -> bytes:
        """Return the bytes of an id."""
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        """Read an id."""
        return UUID(bytes=data.read(16))


class MetadataResponseV10(Response):
    """Brokers, and one topic's partitions."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", TopicId),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class MetadataRequestV10(RequestStruct):
    """Asks for one topic, which is not to be made by asking."""

    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = MetadataResponseV10
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", TopicId), ("name", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class MetadataRequest(Request[MetadataRequestV10]):
    """Asks which brokers there are, and who leads a topic's partitions."""

    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[MetadataRequestV10]) -> MetadataRequestV10:
        """Return the request in a version that the broker speaks."""
        topics: list[Any] = [(UUID(int=0), self._topic, {})]
        return request_struct_class(topics, False, False, False, {})
