"""End with 0 if the part in this container is ready. ``HEALTH_PORT`` is the port on which it says so."""

from __future__ import annotations

import os
import sys
import urllib.request

try:
    with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['HEALTH_PORT']}/readyz", timeout=4):
        pass
except OSError as error:
    sys.exit(str(error))
