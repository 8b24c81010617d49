"""Finds adapters by port and URL scheme, ours and strangers' alike, through entry points.

The group is ``agenttrace.adapters``; a name is ``port.scheme``, such as ``queue.kafka``; the
object is a class with ``from_url``.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points

from agenttrace_core.errors import ConfigurationError, MissingExtraError
from agenttrace_core.ports.adapter import Adapter

GROUP = "agenttrace.adapters"

_PASSWORD_OPTION = re.compile(r"([?&]\w*password=)[^&]*")

_EXTRA_OF_MODULE = {
    "aiobotocore": "s3", "aioboto3": "s3", "aiokafka": "kafka", "asyncpg": "postgres", "cramjam": "kafka",
    "redis": "redis",
}  # fmt: skip


def make_adapter(port: str, url: str, *, key: str = "") -> Adapter:
    """Make the adapter that ``url``'s scheme names for ``port`` (``queue``, ``storage``, …).

    ``key`` is the setting that holds the URL, where it is not called as the port is.

    Raises:
        ConfigurationError: the scheme is unknown; the message lists the known ones.
        MissingExtraError: the adapter's package is not installed; the message says how to.
    """
    scheme, colon, _ = url.partition(":")
    found = _entry_points(port)
    if not colon or scheme not in found:
        known = ", ".join(f"{name}:" for name in sorted(found))
        raise ConfigurationError(f"{key or port} = {without_password(url)!r}: no adapter for it; known are {known}")
    return _load(port, found[scheme]).from_url(url)


def schemes(port: str) -> list[str]:
    """Return the URL schemes that are registered for ``port``."""
    return sorted(_entry_points(port))


def _entry_points(port: str) -> dict[str, EntryPoint]:
    prefix = f"{port}."
    return {e.name.removeprefix(prefix): e for e in entry_points(group=GROUP) if e.name.startswith(prefix)}


def _load(port: str, entry: EntryPoint) -> type[Adapter]:
    try:
        adapter: type[Adapter] = entry.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        extra = _EXTRA_OF_MODULE.get(missing, "server")
        raise MissingExtraError(
            f"the {entry.name.removeprefix(port + '.')}: adapter of {port} needs the package {missing!r}: "
            f"pip install 'agenttrace-platform[{extra}]'"
        ) from error
    return adapter


def without_password(url: str) -> str:
    """Return a URL as it may be shown: without what stands between ``//`` and the last ``@``, nor ``…password=``."""
    before, at, after = url.rpartition("@")
    shown = f"{before.split('//')[0]}//…@{after}" if at and "//" in before else url
    return _PASSWORD_OPTION.sub(r"\1…", shown)
