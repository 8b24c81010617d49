"""How much of the recorded traces the rules reach: counts by file, kind of span, and column.

``python -m tests.unit.normalise.coverage CORPORA`` prints the table, and with ``--toml`` the numbers to guard.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard

from agenttrace_core.ports.queue import Headers, Position, Record, Signal
from agenttrace_core.wire.check import check_traces
from agenttrace_core.wire.columns import decode_records
from agenttrace_core.wire.json_read import traces_from_json

_NOW = 1_790_000_000_000_000_000
_LINES_AT_ONCE = 50

KINDS = {
    "inference": ("chat", "generate_content", "text_completion", "embeddings"),
    "tool": ("execute_tool",),
    "agent": ("invoke_agent", "create_agent"),
    "retrieval": ("retrieval", "rerank"),
}
COLUMNS = (
    "model", "provider", "input_tokens", "output_tokens", "given_cost_usd", "agent", "tool", "session_id",
    "input_preview", "output_preview",
)  # fmt: skip

Counts = dict[str, dict[str, int]]


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the requests of a file, each OTLP/JSON."""
    with path.open("rb") as raw, zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(raw) as stream:
        yield from map(json.loads, io.TextIOWrapper(stream, "utf-8"))


def tables(path: Path) -> Iterator[pa.Table]:
    """Yield the rows of a file, some traces at a time."""
    bodies: list[bytes] = []
    for line in lines(path):
        bodies.append(check_traces(traces_from_json(json.dumps(line).encode()).body).body)
        if len(bodies) == _LINES_AT_ONCE:
            yield decoded(bodies)
            bodies = []
    if bodies:
        yield decoded(bodies)


def decoded(bodies: list[bytes]) -> pa.Table:
    """Return the rows of protobuf requests."""
    headers = Headers("default", Signal.TRACES, _NOW)
    return decode_records([Record(Position(0, i, i + 1), headers, body) for i, body in enumerate(bodies)])


def counts_of(path: Path) -> Counts:
    """Count, for each kind of span, the spans and those that have each column."""
    found: Counts = {kind: {} for kind in KINDS}
    for table in tables(path):
        operations = table["operation"].to_pylist()
        columns = {name: table[name].is_valid().to_pylist() for name in COLUMNS}
        for row, operation in enumerate(operations):
            kind = next((kind for kind, operations in KINDS.items() if operation in operations), None)
            if kind is not None:
                counts = found[kind]
                counts["spans"] = counts.get("spans", 0) + 1
                for name, valid in columns.items():
                    counts[name] = counts.get(name, 0) + valid[row]
    return {kind: {name: count for name, count in counts.items() if count} for kind, counts in found.items() if counts}


def text_of(found: dict[str, Counts]) -> str:
    """Return the table as text."""
    head = f"{'file':32} {'kind':10}" + "".join(f"{name[:14]:>15}" for name in ("spans", *COLUMNS))
    rows = [
        f"{file:32} {kind:10}" + "".join(f"{counts.get(name, 0):15}" for name in ("spans", *COLUMNS))
        for file, kinds in found.items()
        for kind, counts in kinds.items()
    ]
    return "\n".join([head, *rows])


def toml_of(found: dict[str, Counts]) -> str:
    """Return the counts as the TOML that guards them."""
    return "\n".join(
        f"[{file}]\n" + "".join(
            f"{kind} = {{ {', '.join(f'{name} = {count}' for name, count in counts.items())} }}\n"
            for kind, counts in kinds.items()
        )
        for file, kinds in found.items()
    )  # fmt: skip


if __name__ == "__main__":
    files = sorted(Path(sys.argv[1], "dev").glob("*.otlp.jsonl.zst"))
    every = {path.name.split(".")[0]: counts_of(path) for path in files}
    sys.stdout.write(toml_of(every) if "--toml" in sys.argv else text_of(every) + "\n")
