"""What commands that ask about many spans share: a query, a time, and lengths of time as people type them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_LENGTH = re.compile(r"(\d{1,6})(s|m|h|d|w)", re.ASCII)
_NEGATED = re.compile(r"-(?!n\d)[^\s-].")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BUCKETS_S = (60, 300, 900, 3600, 3 * 3600, 6 * 3600, 86_400, 7 * 86_400)
_MOST_BARS = 48


class QueryCommand(click.Command):
    """A command that takes a query, in which a term may begin with ``-``, as options do.

    No short option but ``-n`` takes a value, so that ``-n5`` is one and ``-status:ok`` is none.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write ``-term`` as ``NOT term``, which means the same and is nobody's option."""
        end = args.index("--") if "--" in args else len(args)
        read = [f"NOT {arg[1:]}" if _NEGATED.match(arg) else arg for arg in args[:end]]
        return super().parse_args(ctx, [*read, *args[end:]])


def question_options(since: str | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds QUERY, ``--since`` and ``--until`` to a command; ``since`` is the default."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--until", metavar="TIME", help="Up to when; written as --since."),
            click.option(
                "--since", metavar="TIME", default=since, show_default=since is not None,
                help="From when: an age such as 90m, 24h or 7d, or a time as in RFC 3339.",
            ),
            click.argument("query", nargs=-1, metavar="[QUERY]..."),
        ):  # fmt: skip
            function = option(function)
        return function

    return add


def asked(query: tuple[str, ...], since: str | None, until: str | None, now_ns: int | None = None) -> dict[str, Any]:
    """Return the parameters ``q``, ``start`` and ``end`` of the API, those that are given."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    given = {"q": " ".join(query), "start": moment(since, now_ns), "end": moment(until, now_ns)}
    return {name: value for name, value in given.items() if value}


def age_ns(text: str | None) -> int | None:
    """Return a length of time such as ``90m`` in nanoseconds; None if it is none."""
    found = _LENGTH.fullmatch(text or "")
    return int(found[1]) * _UNIT_S[found[2]] * 10**9 if found else None


def bucket_for(since: str | None) -> str:
    """Return the shortest of some round buckets of which a time since then has no more than fit side by side."""
    length_s = (age_ns(since) or 7 * 86_400 * 10**9) // 10**9
    return f"{next((b for b in _BUCKETS_S if length_s <= b * _MOST_BARS), _BUCKETS_S[-1])}s"


def timezone_here() -> str:
    """Return the IANA name of this machine's time zone, ``UTC`` where it does not say."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if not named:
        place = os.path.realpath("/etc/localtime")
        named = place.partition("/zoneinfo/")[2]
    return named if re.fullmatch(r"[A-Za-z0-9_+\-/]{1,60}", named) and not Path(named).is_absolute() else "UTC"


def moment(text: str | None, now_ns: int) -> str | None:
    """Return a time, with an age such as ``7d`` as nanoseconds since the epoch."""
    age = age_ns(text)
    return text if age is None else str(now_ns - age)
