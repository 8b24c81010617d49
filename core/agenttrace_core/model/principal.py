"""Who asks. Every request has one, and every row, path, query and receipt is scoped by its project."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agenttrace_core.errors import InvalidInputError

DEFAULT_PROJECT = "default"
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def check_project(name: str) -> str:
    """Return ``name`` if it can name a project.

    Raises:
        InvalidInputError: it is not 1 to 63 of ``a-z 0-9 _ -``, beginning with a letter or digit.
    """
    if _PROJECT.fullmatch(name) is None:
        raise InvalidInputError(
            f"project {name[:80]!r} is not a valid name: use 1 to 63 of a-z, 0-9, '_' and '-', "
            "beginning with a letter or digit"
        )
    return name


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, and the one project that it may read and write."""

    project: str = DEFAULT_PROJECT

    def __post_init__(self) -> None:
        check_project(self.project)
