"""``python -m tests.servers [SERVER…]`` fetches the servers' programs, and says what cannot be had."""

from __future__ import annotations

import sys
import time

from tests.servers.programs import FETCH, MissingProgramError


def main() -> int:
    """Fetch what was named, or everything; return how many are missing."""
    missing = 0
    for server in sys.argv[1:] or FETCH:
        began = time.monotonic()
        try:
            FETCH[server]()
        except MissingProgramError as error:
            missing += 1
            print(error)
        else:
            print(f"{server}: there ({time.monotonic() - began:.0f} s)")
    return missing


if __name__ == "__main__":
    sys.exit(main())
