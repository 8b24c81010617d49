"""How long spans are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agenttrace_core.model.segment import WINDOW_NS, Segment

_NS = 1_000_000_000


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
