"""What a check of `agenttrace doctor` says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a finding means for the operator."""

    GOOD = "good"
    NOTE = "note"
    """Works, but could be better."""
    WRONG = "wrong"
    """Will not work, or will lose what should be kept."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``advice`` is empty where there is nothing to do."""

    what: str
    verdict: Verdict
    found: str
    advice: str = ""
