"""The rules, read from ``rules.toml`` and ``rules/*.toml``, which are part of the package.

A rule fills one column. It has sources, the most preferred first; the first that a span has, and
whose value the column can hold, gives the value. How they are written: ``docs/dialects.md``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, TypeVar

_FOLDER = "agenttrace_core.normalise"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class When:
    """What must hold of a span for a source to count; all that is given must.

    Attributes:
        key: an attribute whose value must be one of ``values``, whatever its case.
        values: see ``key`` and ``column``.
        column: a column filled before, whose value must be one of ``values``.
        scope: the instrumentation scope's name begins with one of these, or with a provider's prefix to it.
        has: attributes of which the span has at least one.
        lacks: attributes of which it has none.
    """

    key: str | None = None
    values: tuple[str, ...] = ()
    column: str | None = None
    scope: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The attributes that it asks about."""
        return (*((self.key,) if self.key else ()), *self.has, *self.lacks)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where a value may come from, and what is done to it: in this order, from ``path`` to ``values``.

    Attributes:
        kind: ``key`` (an attribute of the span), ``resource`` (one of its resource), ``field`` (the span's
            ``name``), ``event`` (the time of the first event of that name), ``said`` (what the last event of that
            name says in the first of the attributes ``add``), ``numbered`` (messages, see ``numbered``), or
            ``give`` (a value of its own).
        name: of the attribute, field or event; the value itself for ``give``.
        path: steps into the JSON object that the attribute's text is; empty for the attribute itself.
        add: further attributes, or paths, whose numbers are added; ``*`` for every other number there.
        pattern: a regular expression (RE2) with one group, which is what counts. No match: no value.
        fold: whether it is put into lower case.
        values: what it is translated to; one that is not here is no value, unless ``other``.
        excepted: values that are none.
        unit: of a duration: ``s``, ``ms``, ``ns``, or ``time`` for a point in time since the span's start.
        exclusive: whether a count of tokens leaves its parts out.
        verbatim: of a preview: whether it is shown as it came, because what is in it is not a conversation.
    """

    kind: str
    name: str
    path: tuple[str, ...] | None = None
    add: tuple[str, ...] = ()
    pattern: str | None = None
    fold: bool = False
    values: Mapping[str, str] = field(default_factory=dict)
    other: bool = False
    excepted: tuple[str, ...] = ()
    unit: str = "ns"
    exclusive: bool = False
    verbatim: bool = False
    when: When | None = None

    @property
    def id(self) -> str:
        """What names it among the sources of a rule, for people."""
        prefix = "" if self.kind == "key" else f"{self.kind}:"
        return f"{prefix}{self.name}" + (f"#{'.'.join(self.path)}" if self.path is not None else "")


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A column, what it holds and its sources.

    ``type`` is ``text``, ``count``, ``money``, ``duration``, ``tags``, ``flag``, ``input`` or ``output`` (previews).
    """

    column: str
    type: str
    sources: tuple[Source, ...]


def parse_rules(document: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Return the rules of one parsed file.

    Raises:
        ValueError: a rule or a source has a field that does not exist.
    """
    return tuple(_rule(column, dict(entry)) for column, entry in document.items())


def _rule(column: str, entry: dict[str, Any]) -> Rule:
    same = entry.pop("same", {})
    sources = tuple(_source(s if isinstance(s, dict) else {"key": s}, same) for s in entry.pop("sources"))
    rule = Rule(column, entry.pop("type"), sources)
    if entry:
        raise ValueError(f"rule {column!r} has unknown fields: {sorted(entry)}")
    return rule


def _source(given: Mapping[str, Any], same: Mapping[str, str]) -> Source:
    rest = dict(given)
    kind = next(kind for kind in ("key", "resource", "field", "event", "said", "numbered", "give") if kind in rest)
    path, when = rest.pop("path", None), rest.pop("when", None)
    rest["name"] = rest.pop(kind)
    rest["path"] = None if path is None else tuple(path.split(".")) if path else ()
    rest["add"], rest["excepted"] = tuple(rest.pop("add", ())), tuple(rest.pop("except", ()))
    rest["when"] = None if when is None else _when(when)
    if rest.pop("same", False):
        rest |= {"values": same, "other": True}
    return _made(Source, {"kind": kind, **rest}, given)


def _when(given: Mapping[str, Any]) -> When:
    rest = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    rest["values"] = tuple(value.lower() for value in rest.pop("in", ()))
    return _made(When, rest, given)


def _made(of: type[_T], fields: dict[str, Any], given: Mapping[str, Any]) -> _T:
    try:
        return of(**fields)
    except TypeError as error:
        raise ValueError(f"{given!r}: {error}") from error


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files(_FOLDER).joinpath(name).read_text("utf-8"))


def _load() -> tuple[str, tuple[Rule, ...]]:
    head = _read("rules.toml")
    return head["version"], tuple(
        rule for topic in head["topics"] for rule in parse_rules(_read(f"rules/{topic}.toml"))
    )


VERSION, RULES = _load()
"""``VERSION`` is part of every file's id, and grows with every change of the rules."""
