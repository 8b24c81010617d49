"""``/api/v1/media``: pictures, sound and files out of messages, none of which a browser may run."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from agenttrace_server.query.parameters import Caller
from agenttrace_server.query.services import ApiServices

_SHOWN = frozenset({
    "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "audio/mpeg", "audio/wav",
    "audio/x-wav", "audio/ogg", "audio/webm", "audio/mp4", "audio/aac", "audio/flac", "audio/opus",
})  # fmt: skip
"""What a browser shows without running anything. SVG is not among it."""

_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    # The id names the very bytes; another caller must not get them from a shared cache.
    "cache-control": "private, max-age=86400, immutable",
}


def router(services: ApiServices) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["traces"])

    @routes.get("/media/{media_id}", response_class=Response)
    async def get_media(
        request: Request,
        caller: Caller,
        media_id: Annotated[str, Path(description="media_id of a part of a message", max_length=256)],
    ) -> Response:
        """The bytes of a picture, sound or file; all but common pictures and sound as a download without a type."""
        blob = await services.patience.answer(request, lambda: services.read.media(caller, media_id))
        mime_type = blob.mime_type.lower()
        if mime_type in _SHOWN:
            return Response(blob.data, media_type=mime_type, headers=_HEADERS)
        headers = {**_HEADERS, "content-disposition": 'attachment; filename="media.bin"'}
        return Response(blob.data, media_type="application/octet-stream", headers=headers)

    return routes
