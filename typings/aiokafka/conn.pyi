import asyncio
import ssl
from collections.abc import Awaitable
from typing import Any

from aiokafka.protocol.api import Request

class AIOKafkaConnection:
    _writer: asyncio.StreamWriter | None
    def __init__(
        self,
        host: str,
        port: int,
        *,
        client_id: str = ...,
        request_timeout_ms: int = ...,
        ssl_context: ssl.SSLContext | None = ...,
        security_protocol: str = ...,
        max_idle_ms: int | None = ...,
        sasl_mechanism: str | None = ...,
        sasl_plain_username: str | None = ...,
        sasl_plain_password: str | None = ...,
    ) -> None: ...
    async def connect(self) -> object: ...
    def connected(self) -> bool: ...
    def close(self, reason: object = ..., exc: BaseException | None = ...) -> asyncio.Future[None] | None: ...
    def send(self, request: Request[Any], expect_response: bool = True) -> Awaitable[Any]: ...
