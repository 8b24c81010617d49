"""The URL of an adapter in memory, which has nothing to say but its scheme."""

from __future__ import annotations

from typing import ClassVar, Self

from agenttrace_core.errors import ConfigurationError


class FromMemoryUrl:
    """The half of an adapter that its URL, ``memory:``, is read by. ``setting`` is where that is written."""

    setting: ClassVar[str]

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Make one from ``memory:``.

        Raises:
            ConfigurationError: the URL says more than that.
        """
        if url != "memory:":
            raise ConfigurationError(f"{cls.setting} = {url!r}: what is in memory has no path; write 'memory:'")
        return cls()
