"""URLs of PostgreSQL: what is ours, what is libpq's, and that no password is ever told."""

from __future__ import annotations

import pytest

from agenttrace_adapters.postgres.options import parse
from agenttrace_core.errors import ConfigurationError
from agenttrace_core.registry import make_adapter


def test_the_options_are_ours_and_the_rest_is_the_drivers() -> None:
    """An option of ours that went on to the server would be refused by it; one of libpq's that did not, ignored."""
    url = "postgres://u:p%40w@h1:5432,[::1]:5433/db?schema=s_1&pool_size=2&lock_timeout=0.5&sslmode=verify-full"
    options = parse(url)
    assert options.dsn == "postgres://u:p%40w@h1:5432,[::1]:5433/db?sslmode=verify-full"
    assert (options.schema, options.pool_size, options.lock_timeout) == ("s_1", 2, 0.5)
    assert options.table("files") == '"s_1".files'
    assert (options.pgbouncer, options.statement_cache_size > 0) == (False, True)


def test_behind_pgbouncer_no_statement_is_kept() -> None:
    """A prepared statement belongs to a connection that the next transaction may not get."""
    options = parse("postgresql://u@h/db?pgbouncer=true")
    assert (options.pgbouncer, options.statement_cache_size) == (True, 0)
    assert parse("postgresql://u@h/db?pgbouncer=true&statement_cache_size=50").statement_cache_size == 50


@pytest.mark.parametrize(
    "url", ["postgresql:", "postgresql:db", "postgresql:/db", "mysql://h/db", "postgresql://h:x/db"]
)
def test_a_wrong_url_says_what_would_be_right(url: str) -> None:
    """An operator who mistypes the key must not be left with a traceback."""
    with pytest.raises(ConfigurationError, match="postgresql://user:password@host:5432/database"):
        parse(url)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("shema=x", "unknown option 'shema'; known are .*schema"),
        ("schema=public;drop", "schema = 'public;drop' is wrong: small letters"),
        ("schema=Upper", "small letters"),
        ("pool_size=0", "pool_size = '0' is wrong"),
        ("pool_size=many", "pool_size = 'many' is wrong"),
        ("lock_timeout=-1", "a number of seconds"),
        ("pgbouncer=yes", "true or false"),
        ("statement_cache_size=-1", "0 for none"),
    ],
)
def test_a_wrong_option_is_named(option: str, said: str) -> None:
    """A mistyped option must not become the default."""
    with pytest.raises(ConfigurationError, match=said):
        parse(f"postgresql://u@h/db?{option}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hush/hush@h/db", "postgresql://u:hush?hush@h/db", "postgresql://u:hush#hush@h/db",
        "postgresql://u:hush[hush@h/db",
        "postgresql://u:hush@hush@h/db?x=1", "postgresql://u:1/hush@h/db", "postgresql://u@h/db?password=hush",
        "postgresql://u:hush@h:port/db", "mysql://u:hush@h/db", "postgresql://u:hush@h/db?schema=A",
    ],
)  # fmt: skip
def test_no_message_shows_a_password(url: str) -> None:
    """Logs are read by more people than may know it. A password with special characters is easily written wrong."""
    with pytest.raises(ConfigurationError) as caught:
        make_adapter("metadata", url)
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert "hush" not in "".join(f"{error!s} {error!r}" for error in chain)
