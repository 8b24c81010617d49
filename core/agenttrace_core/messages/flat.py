"""Attributes that are numbered instead of nested, such as ``llm.input_messages.0.message.role``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_MOST_SEGMENTS: Final = 24
_LONGEST_NUMBER: Final = 9


def numbered(attributes: Mapping[str, Any], prefix: str) -> list[Any]:
    """Return what stands under ``prefix``, in the order of its numbers: a value, or a tree of dicts and lists, each.

    Of a key that is both a value and the beginning of others, the value counts.
    """
    tree: dict[str, Any] = {}
    for key, value in attributes.items():
        if key.startswith(prefix) and key[len(prefix) : len(prefix) + 1] == ".":
            _place(tree, key[len(prefix) + 1 :].split(".", _MOST_SEGMENTS), value)
    items = _listed(tree)
    return items if isinstance(items, list) else []


def _place(tree: dict[str, Any], segments: list[str], value: Any) -> None:
    for segment in segments[:-1]:
        inner = tree.setdefault(segment, {})
        if not isinstance(inner, dict):
            return
        tree = inner
    tree[segments[-1]] = value


def _listed(tree: Any, levels: int = _MOST_SEGMENTS + 1) -> Any:
    """Make lists of what is numbered throughout. Trees are no deeper than ``_place`` makes them."""
    if not isinstance(tree, dict) or levels == 0:
        return tree
    inner = {key: _listed(value, levels - 1) for key, value in tree.items()}
    if not inner or not all(key.isascii() and key.isdigit() and len(key) <= _LONGEST_NUMBER for key in inner):
        return inner
    return [inner[key] for key in sorted(inner, key=int)]
