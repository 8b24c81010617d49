"""Answers without an end in sight, of which only so many are sent at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from agenttrace_server.query.patience import Patience


class CountedStream(StreamingResponse):
    """Counts itself among the open streams for as long as it is sent.

    Args:
        patience: keeps the count.
        pieces: of the body.
        media_type: of it.
        headers: further ones.
    """

    def __init__(
        self,
        patience: Patience,
        pieces: AsyncIterator[bytes],
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(pieces, media_type=media_type, headers=headers)
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            OverloadedError: there are too many.
        """
        with self._patience.stream():
            await super().__call__(scope, receive, send)
