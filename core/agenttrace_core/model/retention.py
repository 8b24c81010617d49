"""How long spans are kept, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agenttrace_core.model.segment import WINDOW_NS, Segment

_NS = 1_000_000_000
_DAY_S = 86_400.0


class Tier(StrEnum):
    """Where a storage keeps an object: the later ones cost less to keep, and more to read. In that order."""

    STANDARD = "standard"
    INFREQUENT = "infrequent"
    """Read at once, for a fee."""
    GLACIER = "glacier"
    """Read once restored, which takes hours."""
    DEEP_ARCHIVE = "deep_archive"
    """The same, which takes a day."""


ARCHIVES = frozenset({Tier.GLACIER, Tier.DEEP_ARCHIVE})
"""The tiers from which an object has to be restored before it is read."""


@dataclass(frozen=True, slots=True)
class TierAges:
    """The age in seconds from which payloads lie in a tier; None for a tier that is left out."""

    infrequent_s: float | None = 7 * _DAY_S
    glacier_s: float | None = 30 * _DAY_S
    deep_archive_s: float | None = 90 * _DAY_S

    def tier(self, age_s: float) -> Tier:
        """Return where what is so old lies."""
        ages = ((Tier.DEEP_ARCHIVE, self.deep_archive_s), (Tier.GLACIER, self.glacier_s),
                (Tier.INFREQUENT, self.infrequent_s))  # fmt: skip
        return next((tier for tier, least in ages if least is not None and age_s >= least), Tier.STANDARD)


@dataclass(frozen=True, slots=True)
class Tiering:
    """By project, when payloads go to which tier; ``ages`` holds for projects that ``projects`` does not name."""

    ages: TierAges = field(default_factory=TierAges)
    projects: Mapping[str, TierAges] = field(default_factory=dict)

    def tier(self, segments: Iterable[Segment], now_ns: int) -> Tier:
        """Return where a file's payload lies: where the one of its segments does that is to be read the soonest."""
        order = list(Tier)
        tiers = (self.projects.get(s.project, self.ages).tier((now_ns - s.window - WINDOW_NS) / _NS) for s in segments)
        return min(tiers, key=order.index, default=Tier.STANDARD)


@dataclass(frozen=True, slots=True)
class Retention:
    """By project, the seconds after which a window of spans expires; None keeps them for ever.

    ``expire_after_s`` holds for projects that ``projects`` does not name.
    """

    expire_after_s: float | None = None
    projects: Mapping[str, float] = field(default_factory=dict)

    def has_expired(self, segment: Segment, now_ns: int) -> bool:
        """Whether the whole of a segment's window is older than its project keeps.

        A span's window is that of its start, or where that is absent or absurd, of its receipt.
        """
        return self.is_over(segment.project, segment.window, now_ns)

    def is_over(self, project: str, window: int, now_ns: int) -> bool:
        """Whether the whole of a window is older than a project keeps."""
        keep_s = self.projects.get(project, self.expire_after_s)
        return keep_s is not None and window + WINDOW_NS + keep_s * _NS < now_ns
