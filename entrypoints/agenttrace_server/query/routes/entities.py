"""Lists: ``/api/v1/sessions``, ``users``, ``agents``, ``tools``, ``models``, ``prompts``, and ``errors`` by kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from agenttrace_core.model.algebra import Interval, Measure, Selection
from agenttrace_core.services.ask import select
from agenttrace_core.services.entities import EntityKind
from agenttrace_server.query import formats, models, render
from agenttrace_server.query.asking import During, QueryText, measure
from agenttrace_server.query.formats import Rows, WantedFormat
from agenttrace_server.query.parameters import Caller, Cursor, Limit, json_response
from agenttrace_server.query.services import ApiServices
from agenttrace_server.query.tables import entity_table, error_table

_DOCS = {
    EntityKind.SESSIONS: "Sessions, the newest activity first.",
    EntityKind.USERS: "Users, the newest activity first.",
    EntityKind.AGENTS: "Agents, those of most spans first.",
    EntityKind.TOOLS: "Tools, those called most first.",
    EntityKind.MODELS: "Models, those called most first.",
    EntityKind.PROMPTS: "Prompts, those used most first.",
}

SortBy = Annotated[
    str | None,
    Query(pattern="^[a-z0-9_]{1,32}(:(asc|desc))?$", description="A measure: the greatest first; with :asc, the least"),
]


def router(services: ApiServices) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["lists"])
    for kind, doc in _DOCS.items():
        _add(routes, services, kind, doc)

    @routes.get("/errors", responses=formats.responses(models.ErrorListing))
    async def list_errors(
        request: Request,
        caller: Caller,
        during: During,
        wanted: WantedFormat,
        q: QueryText = "",
        sort: SortBy = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """Failed spans by kind of error, the most frequent first."""
        selection = _selected(services, q, during)
        order, descending = _order(sort)
        found = await services.patience.answer(
            request,
            lambda: services.error_groups.list(
                caller,
                selection=selection,
                sort=order or Measure.SPANS,
                descending=descending,
                limit=limit,
                cursor=cursor or None,
            ),
        )
        return formats.response(Rows(error_table(found), "items", found.lag, found.next_cursor), wanted)

    return routes


def _add(routes: APIRouter, services: ApiServices, kind: EntityKind, doc: str) -> None:
    """Add the list of things of a kind, and the one by id."""

    async def list_entities(
        request: Request,
        caller: Caller,
        during: During,
        wanted: WantedFormat,
        q: QueryText = "",
        sort: SortBy = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        selection = _selected(services, q, during)
        order, descending = _order(sort)
        found = await services.patience.answer(
            request,
            lambda: services.entities.list(
                caller, kind, selection=selection, sort=order, descending=descending, limit=limit, cursor=cursor or None
            ),
        )
        return formats.response(Rows(entity_table(found), "items", found.lag, found.next_cursor), wanted)

    async def get_entity(
        request: Request,
        caller: Caller,
        during: During,
        entity_id: Annotated[str, Path(description="As the list has it", max_length=4096)],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        found = await services.patience.answer(
            request,
            lambda: services.entities.get(caller, kind, entity_id, during=during, limit=limit, cursor=cursor or None),
        )
        scores = None
        if kind is EntityKind.SESSIONS:
            scores = await services.scores.of_session(caller, entity_id, [item.trace_id for item in found.traces])
        return json_response(render.entity_page(found, services.read.as_of(), scores))

    one = kind.removesuffix("s")
    routes.add_api_route(
        f"/{kind}", list_entities, name=f"list_{kind}", description=doc,
        responses=formats.responses(models.EntityListing),
    )  # fmt: skip
    routes.add_api_route(
        f"/{kind}/{{entity_id:path}}", get_entity, name=f"get_{one}",
        description=f"All figures of a {one}, and a page of its traces, newest first.",
        response_model=models.EntityPage,
    )  # fmt: skip


def _selected(services: ApiServices, query: str, during: Interval) -> Selection:
    return replace(select(query, during), as_of=services.read.as_of())


def _order(sort: str | None) -> tuple[Measure | None, bool]:
    """Take a sort apart: the measure, None for the list's own, and whether the greatest come first."""
    if sort is None:
        return None, True
    name, _, direction = sort.partition(":")
    return measure("sort", name), direction != "asc"
