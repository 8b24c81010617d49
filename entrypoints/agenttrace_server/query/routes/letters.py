"""``/api/v1/dead-letters``: what was refused."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from agenttrace_core.wire import json_text
from agenttrace_server.query import models, render
from agenttrace_server.query.parameters import Caller, Cursor, Limit, json_response
from agenttrace_server.query.sending import Sent
from agenttrace_server.query.services import ApiServices


def router(services: ApiServices) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1/dead-letters", tags=["dead letters"])

    @routes.get("", response_model=models.DeadLetters)
    async def list_letters(caller: Caller, limit: Limit = 50, cursor: Cursor = None) -> Response:
        """What was refused, newest first, and why."""
        items, next_cursor = await services.letters.list(caller, limit=limit, before=cursor or None)
        return json_response(json_text.dumps({"items": [render.letter(x) for x in items], "next_cursor": next_cursor}))

    @routes.get("/{letter_id}", response_model=models.DeadLetter)
    async def get_letter(caller: Caller, letter_id: str) -> Response:
        """One of them."""
        return json_response(json_text.dumps(render.letter(await services.letters.get(caller, letter_id))))

    @routes.get("/{letter_id}/body", response_class=Response)
    async def get_letter_body(caller: Caller, letter_id: str) -> Response:
        """What was refused, as it came."""
        refused = await services.letters.body(caller, letter_id)
        return Response(refused.body, media_type=str(refused.encoding))

    @routes.post("/{letter_id}/replay", response_model=models.Sent)
    async def replay_letter(caller: Caller, letter_id: str) -> Response:
        """Send it again. What is accepted now is no dead letter any more."""
        return json_response(render.sent(Sent(await services.letters.replay(caller, letter_id))))

    @routes.delete("/{letter_id}", status_code=204)
    async def drop_letter(caller: Caller, letter_id: str) -> Response:
        """Forget it for good."""
        await services.letters.drop(caller, letter_id)
        return Response(status_code=204)

    return routes
