"""Web pages: those that may send, and those that must not reach in."""

from __future__ import annotations

import pytest

from agenttrace_server.ingestion.config import DoorConfig
from tests.integration.doors import Door, open_door, request, span

pytestmark = pytest.mark.anyio

_BODY = request(span(1))


async def _preflight(door: Door, origin: str) -> tuple[int, dict[str, str]]:
    response = await door.client.options(
        "/v1/traces",
        headers={
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,authorization,x-team",
        },
    )
    return response.status_code, dict(response.headers)


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1:5173", "https://[::1]:8443", "http://localhost"]
)
async def test_pages_of_this_machine_may_send(door: Door, origin: str) -> None:
    """A web app under development sends its spans from the browser, from some port of loopback."""
    status, headers = await _preflight(door, origin)
    assert status == 204
    assert headers["access-control-allow-origin"] == origin
    assert headers["access-control-allow-methods"] == "POST"
    assert headers["access-control-allow-headers"] == "content-type,authorization,x-team"
    assert "access-control-allow-credentials" not in headers
    response = await door.post(_BODY, origin=origin)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "agenttrace-receipt" in response.headers["access-control-expose-headers"]
    assert response.headers["vary"] == "origin"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1.nip.io:80"]
)
async def test_other_pages_may_not(door: Door, origin: str) -> None:
    """Any site that the user visits could otherwise fill the store, or probe it."""
    status, headers = await _preflight(door, origin)
    assert status == 403
    assert "access-control-allow-origin" not in headers
    response = await door.post(_BODY, origin=origin)
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers
    assert await door.records() == []


async def test_configured_origins_replace_loopbacks() -> None:
    """An operator who names origins means those, and no others."""
    async with open_door(DoorConfig(allowed_origins=("https://App.example.org",))) as door:
        assert (await _preflight(door, "https://app.example.org"))[0] == 204
        assert (await _preflight(door, "http://localhost:3000"))[0] == 403


async def test_errors_can_be_read_by_an_allowed_page(door: Door) -> None:
    """Without the header the page's developer sees 'network error' instead of the reason."""
    response = await door.post(b"\xff", origin="http://localhost:3000")
    assert response.status_code == 400
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:4318", "127.0.0.1:9", "[::1]:4318", "localhost.:1"])
async def test_loopbacks_names_are_answered_to(door: Door, host: str) -> None:
    """Port forwarding changes the port, and some clients the case."""
    assert (await door.post(_BODY, host=host)).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4318", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", ""]
)
@pytest.mark.parametrize("path", ["/v1/traces", "/metrics", "/healthz"])
async def test_a_rebound_name_is_refused_on_every_path(door: Door, host: str, path: str) -> None:
    """DNS rebinding: the page's own name points here, and the browser thinks it is the page's server."""
    response = await door.post(_BODY, path=path, host=host)
    assert response.status_code == 403
    assert "allowed_hosts" in response.text
    assert await door.records() == []


async def test_configured_names_are_answered_to() -> None:
    """A server behind a name must be told that name, and the refusal says so."""
    async with open_door(DoorConfig(allowed_hosts=("traces.internal",))) as door:
        assert (await door.post(_BODY, host="traces.internal:4318")).status_code == 200
        assert (await door.post(_BODY, host="other.internal")).status_code == 403
