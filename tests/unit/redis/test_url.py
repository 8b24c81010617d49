"""What is written for Redis into the setting `cache`."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttrace_adapters.redis import RedisLimiter
from agenttrace_adapters.redis.url import RedisUrl
from agenttrace_core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://cache", RedisUrl("cache")),
        ("redis://127.0.0.1:7000/3", RedisUrl("127.0.0.1", 7000, 3)),
        ("redis://cache/", RedisUrl("cache")),
        ("redis://:p%40ss%2Fw%3A@cache:6379/0", RedisUrl("cache", password="p@ss/w:")),
        ("redis://us%65r:secret@cache", RedisUrl("cache", user="user", password="secret")),
        ("redis://[::1]:6380", RedisUrl("::1", 6380)),
        ("rediss://cache?ca_file=/etc/ca.pem", RedisUrl("cache", tls=True, ca_file=Path("/etc/ca.pem"))),
        ("redis://cache?prefix=team-a&timeout_ms=1000", RedisUrl("cache", prefix="team-a", timeout_s=1.0)),
    ],
)
def test_what_is_written_is_what_is_used(url: str, meant: RedisUrl) -> None:
    """Operators paste what other programs take; a part that is dropped is found out in production."""
    assert RedisUrl.parse(url) == meant


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis:", "no host"),
        ("redis://:hidden@", "no host"),
        ("redis://:hidden@cache:port", "port"),
        ("redis://:hidden@cache:99999", "port"),
        ("redis://:hidden@cache/one", "'one' is not a number"),
        ("redis://:hidden@cache/0/1", "'0/1'"),
        ("redis://:hi/hidden@cache/0", "percent-encoded"),
        ("redis://:hi?hidden=1@cache/0", "percent-encoded"),
        ("redis://:hidden@cache?db=1", "no option 'db'"),
        ("redis://:hidden@cache?prefix=", "prefix"),
        ("redis://:hidden@cache?prefix=a*", "prefix"),
        ("redis://:hidden@cache?timeout_ms=0", "timeout_ms"),
        ("redis://:hidden@cache?timeout_ms=soon", "options"),
        ("redis://:hidden@cache?timeout_ms", "options"),
    ],
)
def test_a_wrong_url_says_what_is_wrong_and_not_the_password(url: str, why: str) -> None:
    """The message goes into logs and tickets."""
    with pytest.raises(ConfigurationError, match="cache: ") as raised:
        RedisUrl.parse(url)
    assert why in str(raised.value)
    assert "redis://[:PASSWORD@]HOST" in str(raised.value)
    assert "hidden" not in str(raised.value)


def test_a_url_does_not_show_its_password() -> None:
    """Values are printed by debuggers and in tracebacks."""
    assert "secret" not in repr(RedisUrl.parse("redis://:secret@cache"))


@pytest.mark.anyio
async def test_certificates_that_are_missing_are_named(tmp_path: Path) -> None:
    """Lost otherwise: why there is no Redis; it would be said to be away, for ever."""
    limiter = RedisLimiter.from_url(f"rediss://127.0.0.1:1?ca_file={tmp_path}/none.pem")
    with pytest.raises(ConfigurationError, match=r"none\.pem"):
        await limiter.open()
    await limiter.aclose()
