"""The rules, read from ``rules.toml``, which is part of the package."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Source:
    """An attribute that may give a column its value. ``values``, if any, translates what it says."""

    key: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """A column, and its sources in order of preference. ``level`` is ``span`` or ``resource``."""

    column: str
    sources: tuple[Source, ...]
    level: str = "span"


def _load() -> tuple[str, tuple[Rule, ...]]:
    text = files("agenttrace_core.normalise").joinpath("rules.toml").read_text("utf-8")
    document: dict[str, Any] = tomllib.loads(text)
    version: str = document.pop("version")
    return version, tuple(_rule(column, entry) for column, entry in document.items())


def _rule(column: str, entry: dict[str, Any]) -> Rule:
    sources = (Source(s) if isinstance(s, str) else Source(s["key"], s["values"]) for s in entry["sources"])
    return Rule(column, tuple(sources), entry.get("level", "span"))


VERSION, RULES = _load()
"""``VERSION`` is part of every file's id, and grows with every change of the rules."""
