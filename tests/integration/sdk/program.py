"""A user's program in a process of its own, since instrumentation changes a process for good; and what it recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.sdk.provider import Provider
from tests.unit.sdk.receiver import Receiver, attributes

_HEAD = """
import os, sys, json, asyncio
URL = os.environ["PROVIDER"]
def say(value): print("SAID " + json.dumps(value))
"""


@dataclass(frozen=True)
class Node:
    """A span, and those below it by start."""

    name: str
    attributes: dict[str, Any]
    failed: bool
    message: str
    children: tuple[Node, ...]
    events: tuple[str, ...]

    @property
    def operation(self) -> str | None:
        """What it did."""
        return self.attributes.get("gen_ai.operation.name")

    def all(self) -> list[Node]:
        """The span and all below it."""
        return [self, *(inner for child in self.children for inner in child.all())]

    def shape(self) -> Any:
        """Names, as a tree of tuples."""
        return (self.name, *(child.shape() for child in self.children)) if self.children else self.name


@dataclass(frozen=True)
class Ran:
    """What came of a run: what the program said of its own, and the roots of what it recorded."""

    said: list[Any]
    roots: list[Node]
    stderr: str

    def spans(self, *operations: str) -> list[Node]:
        """All spans of these operations, in order."""
        found = [node for root in self.roots for node in root.all()]
        return [node for node in found if node.operation in operations] if operations else found


def run(code: str, receiver: Receiver, provider: Provider, folder: Path) -> Ran:
    """Run a program; ``URL`` is the provider's, ``say`` tells a value."""
    environment = os.environ | {
        "AGENTTRACE_ENDPOINT": receiver.url, "AGENTTRACE_LIVE": "none", "PROVIDER": provider.url,
        "OPENAI_API_KEY": "key", "OPENAI_BASE_URL": provider.url, "CREWAI_DISABLE_TELEMETRY": "true",
        "CREWAI_TRACING_ENABLED": "false", "CREWAI_STORAGE_DIR": str(folder), "HOME": str(folder),
        "CREWAI_TESTING": "true", "LANGSMITH_TRACING": "false",
    }  # fmt: skip
    receiver.requests.clear()
    program = folder / "program.py"
    program.write_text(_HEAD + textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=110, check=False, env=environment,
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("SAID ")]
    return Ran(said, _tree(receiver.spans), done.stderr)


def _tree(spans: list[Any]) -> list[Node]:
    below: dict[bytes, list[Any]] = {}
    ids = {span.span_id for span in spans}
    assert len(ids) == len(spans), "a span was sent twice"
    for span in spans:
        below.setdefault(span.parent_span_id if span.parent_span_id in ids else b"", []).append(span)

    def node(span: Any) -> Node:
        children = sorted(below.get(span.span_id, []), key=lambda child: child.start_time_unix_nano)
        events = tuple(event.name for event in span.events)
        return Node(
            span.name, attributes(span), span.status.code == 2, span.status.message, tuple(map(node, children)), events
        )

    return [node(span) for span in sorted(below.get(b"", []), key=lambda span: span.start_time_unix_nano)]
