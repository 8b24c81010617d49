"""The names under which a port may be called."""

from __future__ import annotations

import pytest

from agenttrace_server.hosts import HostGuard, OriginGuard


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:1", "localhost.", "127.0.0.1:4318", "127.0.0.2", "[::1]", "[::1]:4318", "::1"]
)
def test_a_loopback_port_answers_to_loopback(host: str) -> None:
    """These are the names that a user types."""
    assert HostGuard("127.0.0.1").allows(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[fe80::1]:80",
        "localhost:1:2",
        "[",
        "a]b",
    ],
)
def test_a_loopback_port_answers_to_nothing_else(host: str) -> None:
    """A rebound name reaches loopback; only the Host header tells."""
    assert not HostGuard("127.0.0.1").allows(host)


def test_a_port_open_to_others_answers_to_addresses_and_to_configured_names() -> None:
    """Rebinding needs a name; an address in digits is never somebody else's page."""
    guard = HostGuard("0.0.0.0", ["Traces.Internal"])
    assert all(guard.allows(host) for host in ("10.0.0.1:4318", "[fd00::1]:1", "traces.internal:80", "localhost"))
    assert not guard.allows("evil.example")
    assert HostGuard("box.lan").allows("box.lan:8000"), "the name that it is bound to"


def test_origins_are_matched_whole() -> None:
    """A prefix match would let http://localhost.evil.example in."""
    assert OriginGuard().allows("http://localhost:3000")
    assert not any(
        map(
            OriginGuard().allows,
            ["http://localhost:3000.evil.example", "http://localhost@evil.example", "null", "file://"],
        )
    )
    named = OriginGuard(["https://app.example.org/"])
    assert named.allows("https://app.example.org")
    assert not any(map(named.allows, ["http://app.example.org", "https://app.example.org:444", "http://localhost"]))
