"""The URL of an adapter in memory, which has nothing to say but its scheme."""

from __future__ import annotations

from agenttrace_core.errors import ConfigurationError


def check_memory_url(port: str, url: str) -> None:
    """Accept ``memory:``.

    Raises:
        ConfigurationError: the URL is another one.
    """
    if url != "memory:":
        raise ConfigurationError(f"{port} = {url!r}: what is in memory has no path; write 'memory:'")
