from collections.abc import Sequence
from typing import Any

from aiokafka.protocol.api import Request

class CreateTopicsRequest(Request[Any]):
    def __init__(self, create_topic_requests: Sequence[Any], timeout: int | None, validate_only: bool) -> None: ...

class DescribeConfigsRequest(Request[Any]):
    def __init__(self, resources: list[tuple[int, str, list[str] | None]], include_synonyms: bool = False) -> None: ...

class DeleteRecordsRequest(Request[Any]):
    def __init__(self, topics: list[tuple[str, list[tuple[int, int]]]], timeout_ms: int) -> None: ...
