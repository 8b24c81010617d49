"""The least that an OTLP door in Python could do: take a body, parse it, store nothing.

Its rate is the ceiling of the machine for any door that is written this way.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from agenttrace_core.wire.otlp import message_class

_REQUEST = message_class("Request")
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
    """Parse the body of any request and answer 200 with an empty response."""
    assert scope["type"] == "http"
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    _REQUEST.FromString(b"".join(parts))
    headers = [(b"content-type", b"application/x-protobuf"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), http="httptools", loop="uvloop", lifespan="off",
        access_log=False, log_level="warning",
    )  # fmt: skip
