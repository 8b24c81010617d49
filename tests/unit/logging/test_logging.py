"""What a process writes into its own log."""

from __future__ import annotations

import json
import subprocess
import sys

_PROGRAM = """
import logging, structlog
from agenttrace_server.logging import configure
configure("info", "write")
structlog.get_logger().info("ready", part="write")
logging.getLogger("agenttrace_adapters.kafka.topic").info("made the topic %s", "spans", extra={"partitions": 4})
logging.getLogger("agenttrace_core.services.share").debug("too small to tell")
logging.getLogger("somebody.elses").info("chatter")
logging.getLogger("somebody.elses").warning("trouble")
"""


def test_what_adapters_and_services_tell_comes_out_and_chatter_of_libraries_does_not() -> None:
    """Lost: that a topic or a schema was made, and who writes which partition."""
    said = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True).stderr
    lines = [json.loads(line) for line in said.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("ready", "info"), ("made the topic spans", "info"), ("trouble", "warning"),
    ]  # fmt: skip
    assert lines[1]["partitions"] == 4
    assert {line["process"] for line in lines} == {"write"}
