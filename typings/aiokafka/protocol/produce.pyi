from typing import Any

from aiokafka.protocol.api import Request

class ProduceRequest(Request[Any]):
    def __init__(
        self,
        transactional_id: str | None,
        required_acks: int,
        timeout: int,
        topics: list[tuple[str, list[tuple[int, bytes | bytearray]]]],
    ) -> None: ...
