"""Where settings come from, each source over the one before: defaults, TOML file, environment, command line.

Each value keeps its origin, so that ``agenttrace config`` can say where it came from and an
error can name the place that must be changed. pydantic-settings would merge the sources before
anyone could ask; this does it key by key.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from agenttrace_core.errors import ConfigurationError
from agenttrace_core.registry import without_password
from agenttrace_server.settings import Settings

CONFIG_FILE = Path("agenttrace.toml")
ENV_PREFIX = "AGENTTRACE_"
_TEST_PREFIX = "AGENTTRACE_TEST_"
CLIENT_VARIABLES = frozenset(f"{ENV_PREFIX}{name}" for name in ("API", "API_KEY", "ENDPOINT", "CORPORA", "CONFIG"))
"""Variables that are not settings: the client's, the tests', and the name of the configuration file."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings in force. ``origins`` has the place of every dotted key that was not left at its default."""

    settings: Settings
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Given:
    value: Any
    origin: str


def resolve(
    *, config: Path | None = None, environ: Mapping[str, str], options: Mapping[str, Any] | None = None
) -> Resolved:
    """Merge the sources and validate what comes out.

    Args:
        config: the TOML file; None takes ``AGENTTRACE_CONFIG``, else ``agenttrace.toml`` if it is there.
        environ: the environment.
        options: dotted keys from the command line; None values were not given.

    Raises:
        ConfigurationError: a key is unknown or a value wrong; names each, its origin and what would be right.
    """
    given = {
        **_from_file(config, environ),
        **_from_environment(environ),
        **{key: _Given(value, "command line") for key, value in (options or {}).items() if value is not None},
    }
    try:
        settings = Settings.model_validate(_nested(given))
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(problem, given) for problem in error.errors())) from error
    return Resolved(settings, {key: item.origin for key, item in given.items()})


def known_keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Iterate over every dotted key that can be set, with its field."""
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from known_keys(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def variable_of(key: str) -> str:
    """Return the environment variable of a dotted key."""
    return ENV_PREFIX + key.upper().replace(".", "__")


def _from_file(config: Path | None, environ: Mapping[str, str]) -> dict[str, _Given]:
    named = config or (Path(environ[f"{ENV_PREFIX}CONFIG"]) if environ.get(f"{ENV_PREFIX}CONFIG") else None)
    path = named or CONFIG_FILE
    if named is None and not path.is_file():
        return {}
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {error}") from error
    flat = dict(_flat(tree))
    _refuse_unknown(flat, [key for key, _ in known_keys()], str(path))
    return {key: _Given(value, str(path)) for key, value in flat.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    fields = {variable_of(key): (key, field) for key, field in known_keys()}
    ours = {
        name: text
        for name, text in environ.items()
        if name.startswith(ENV_PREFIX) and name not in CLIENT_VARIABLES and not name.startswith(_TEST_PREFIX)
    }
    _refuse_unknown(ours, fields, "the environment")
    return {
        fields[name][0]: _Given(_typed(text, fields[name][1], name), f"environment {name}")
        for name, text in ours.items()
    }


def _typed(text: str, field: FieldInfo, name: str) -> Any:
    if not isinstance(field.default, tuple):
        return text
    if not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{name}: wanted is a JSON list, or values between commas: {error}") from error


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    sections = {key.rpartition(".")[0] for key, _ in known_keys()}
    for name, value in tree.items():
        if isinstance(value, dict) and (f"{prefix}{name}" in sections or value):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _refuse_unknown(given: Iterable[str], known: Iterable[str], where: str) -> None:
    names = list(known)
    wrong = [name for name in given if name not in names]
    if wrong:
        raise ConfigurationError(
            "\n".join(f"{where}: {name} is not a setting{_nearest(name, names)}" for name in wrong)
        )


def _nearest(name: str, known: list[str]) -> str:
    # A section's name left out is as common a slip as a letter: compare the last part too.
    last = {key.rpartition(".")[2]: key for key in known}
    close = difflib.get_close_matches(name, known, 1, 0.6)
    close = close or [last[part] for part in difflib.get_close_matches(name.rpartition(".")[2], last, 1, 0.75)]
    return f"; the nearest is {close[0]}" if close else "; `agenttrace config` lists those there are"


def _nested(given: Mapping[str, _Given]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, item in given.items():
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = item.value
    return tree


def _explain(problem: Mapping[str, Any], given: Mapping[str, _Given]) -> str:
    path = [str(part) for part in problem["loc"]]
    key = next((".".join(path[:n]) for n in range(len(path), 0, -1) if ".".join(path[:n]) in given), ".".join(path))
    wanted = str(problem["msg"]).removeprefix("Value error, ")
    if not key:
        return wanted
    inner = ".".join(path)
    origin = given[key].origin if key in given else "default"
    # What is under auth. may be a key pasted in the wrong place: its value is never shown.
    shown = "" if key.startswith("auth.") else f" = {_shown(problem['input'])}"
    return f"{inner}{shown} ({origin}): {wanted[:1].lower()}{wanted[1:]}"


def _shown(value: object) -> str:
    text = without_password(repr(value))
    return text if len(text) <= 80 else f"{text[:77]}…"
