"""Who may send and read."""

from __future__ import annotations

import base64
import hashlib

import pytest

from agenttrace_core.errors import ConfigurationError, InvalidInputError, UnauthenticatedError
from agenttrace_server.auth import Authenticator, new_key


def _loopback(*keys: tuple[str, str]) -> Authenticator:
    return Authenticator(keys, bind_host="127.0.0.1")


def test_a_key_is_random_names_its_project_and_is_known_by_its_hash() -> None:
    """The text is shown once; what is configured must not give it away."""
    key, digest = new_key("my-shop")
    assert key.startswith("at_my-shop_")
    assert digest == hashlib.sha256(key.encode()).hexdigest()
    assert new_key("my-shop")[0] != key
    with pytest.raises(InvalidInputError):
        new_key("My Shop")


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_without_a_key_callers_on_this_machine_are_project_default(peer: str) -> None:
    """The first run needs no key, over IPv4, IPv6, and IPv4 on an IPv6 socket."""
    assert _loopback().principal(None, peer).project == "default"


@pytest.mark.parametrize("peer", ["10.0.0.7", "203.0.113.9", "fe80::1", None, "", "localhost.evil.example"])
def test_without_a_key_others_are_nobody(peer: str | None) -> None:
    """A caller whose address is unknown is treated as a stranger."""
    authenticator = Authenticator([("shop", "a" * 64)], bind_host="0.0.0.0")
    with pytest.raises(UnauthenticatedError, match="Bearer"):
        authenticator.principal(None, peer)


def test_each_key_opens_its_own_project_and_no_other() -> None:
    """Every row is scoped by this."""
    (one, digest_one), (two, digest_two) = new_key("one"), new_key("two")
    authenticator = _loopback(("one", digest_one), ("two", digest_two.upper()))
    assert authenticator.principal(f"Bearer {one}", "10.0.0.7").project == "one"
    assert authenticator.principal(f"bearer  {two} ", None, forwarded=True).project == "two"


def test_a_key_is_also_taken_as_a_password_and_bare() -> None:
    """Lost otherwise: the SDKs of Langfuse and Logfire, which send their keys so and no other way."""
    (one, digest_one), (two, digest_two) = new_key("one"), new_key("two")
    authenticator = _loopback(("one", digest_one), ("two", digest_two))
    for user, key, project in (("pk-lf-1", one, "one"), (one, two, "two"), ("", one, "one")):
        credentials = base64.b64encode(f"{user}:{key}".encode()).decode()
        assert authenticator.principal(f"Basic {credentials}", "10.0.0.7").project == project
    assert authenticator.principal(two, "10.0.0.7").project == "two"
    for text in (one, f"{one}:", f"{one}:guess"):
        with pytest.raises(UnauthenticatedError) as caught:
            authenticator.principal(f"Basic {base64.b64encode(text.encode()).decode()}", "127.0.0.1")
        assert one not in str(caught.value), "keys must not reach logs"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic",
        "Basic YTpi",
        "Basic !!",
        "Basic YQ=",
        "Basic \udcff",
        "at_one_guess",
        "Bearer \x00\udcff",
        "Bearer at_one_guess",
    ],
)
def test_a_wrong_key_is_nobody_even_on_this_machine(value: str) -> None:
    """A sender with a mistyped key must hear of it, not end up in another project."""
    with pytest.raises(UnauthenticatedError) as caught:
        _loopback(("one", "b" * 64)).principal(value, "127.0.0.1")
    assert "guess" not in str(caught.value), "keys must not reach logs"


@pytest.mark.parametrize("value", ["Basic cGstbGY6c2stbGY=", "Bearer another-platforms-key"])
def test_while_there_are_no_keys_what_clients_of_other_platforms_send_is_ignored(value: str) -> None:
    """Their SDKs always send a key of theirs: pointed at the first run, all that they send would be refused."""
    assert _loopback().principal(value, "127.0.0.1").project == "default"
    with pytest.raises(UnauthenticatedError):
        _loopback().principal(value, "10.0.0.7")
    with pytest.raises(UnauthenticatedError):
        Authenticator([], bind_host="127.0.0.1", local=False).principal(value, "127.0.0.1")


def test_a_forwarded_caller_needs_a_key() -> None:
    """A proxy on this machine must not make the world local."""
    with pytest.raises(UnauthenticatedError):
        _loopback().principal(None, "127.0.0.1", forwarded=True)


def test_a_port_open_to_others_without_keys_is_refused() -> None:
    """Nobody opens a store of prompts to a network by one setting; the message says what to do."""
    with pytest.raises(ConfigurationError, match="agenttrace key new PROJECT"):
        Authenticator([], bind_host="0.0.0.0")


@pytest.mark.parametrize(
    "pair", [("shop", "abc"), ("Shop!", "a" * 64), ("shop", "at_shop_plain-key-pasted-by-mistake")]
)
def test_a_malformed_key_entry_is_refused_without_being_shown(pair: tuple[str, str]) -> None:
    """A key pasted where its hash belongs must not be printed to a log."""
    with pytest.raises(ConfigurationError, match=r"auth\.keys") as caught:
        _loopback(pair)
    assert "pasted" not in str(caught.value)


def test_callers_on_this_machine_may_be_asked_for_a_key_too() -> None:
    """A proxy that says nothing of those whom it serves would open project ``default`` to all of them."""
    key, digest = new_key("shop")
    strict = Authenticator([("shop", digest)], bind_host="127.0.0.1", local=False)
    assert strict.principal(f"Bearer {key}", "127.0.0.1").project == "shop"
    with pytest.raises(UnauthenticatedError):
        strict.principal(None, "127.0.0.1")
