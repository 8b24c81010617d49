"""The script ``agenttrace``, which every install has; what it runs needs the ``server`` extra."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, or say what to install where a package that it needs is missing."""
    try:
        from agenttrace_server.cli.main import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("agenttrace"):
            raise
        sys.exit(f"agenttrace: this needs the package {error.name!r}: pip install 'agenttrace-platform[server]'")
    run()
