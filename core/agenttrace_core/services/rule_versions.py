"""Versions of the rules that made files."""

from __future__ import annotations

from collections.abc import Sequence

from agenttrace_core.model.segment import SegmentFile


def oldest_rules(files: Sequence[SegmentFile]) -> str:
    """Return the oldest version that made any of the files: that of what is merged of them."""
    return min((file.normaliser for file in files), key=_age)


def _age(version: str) -> tuple[int, str]:
    return (int(version) if version.isdecimal() and len(version) < 10 else -1, version)
