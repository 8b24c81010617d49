"""The SDK's version: that of the distribution, which is one for all packages."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("agenttrace-platform")
except PackageNotFoundError:  # run from a bare folder
    __version__ = "0"
