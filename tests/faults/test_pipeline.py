"""The way of a span under crashes: what was acknowledged is there, once, and the sums are exact.

A run is drawn from a seed: new spans, retries, later versions of spans, in any order, while the writer
and the compactor crash at any of their steps. ``AGENTTRACE_FAULT_SEEDS=100`` runs more of them,
``AGENTTRACE_FAULT_SEED=7`` that one alone.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.query.settle import winners
from agenttrace_core.schema.keys import trace_id_of
from agenttrace_core.services.compact import CompactConfig
from agenttrace_core.services.write import WriteConfig
from tests.faults.deployment import Crash, append, backends, compact_all, crash_at, file_view, write_all
from tests.faults.spans import SpanSpec, now_ns, request

pytestmark = pytest.mark.anyio

WRITER_STEPS = ["encoded", "stored", "committing", "committed", "trimmed"]
COMPACTOR_STEPS = ["merged", "stored", "replaced", "deleted"]
SMALL = WriteConfig(flush_bytes=2_000, chunk_bytes=600, chunk_interval_s=0.0)
EAGER = CompactConfig(fan_in=3, piece_rows=8, grace_s=0.0)


@dataclass
class Sent:
    """The oracle: what was acknowledged, by project, in the version that must count."""

    spans: dict[tuple[str, bytes, bytes, int, str, int], SpanSpec] = field(default_factory=dict)

    def add(self, project: str, specs: Iterable[SpanSpec]) -> None:
        for spec in specs:
            key = (project, spec.trace_id, spec.span_id, spec.kind, spec.service, spec.start_ns)
            known = self.spans.get(key)
            if known is None or (spec.end_ns != 0, spec.end_ns) >= (known.end_ns != 0, known.end_ns):
                self.spans[key] = spec

    def of(self, project: str) -> dict[str, list[SpanSpec]]:
        traces: dict[str, list[SpanSpec]] = {}
        for (owner, *_), spec in self.spans.items():
            if owner == project:
                traces.setdefault(spec.trace_id.hex(), []).append(spec)
        return traces


def seeds() -> list[int]:
    one = os.environ.get("AGENTTRACE_FAULT_SEED")
    return [int(one)] if one else list(range(int(os.environ.get("AGENTTRACE_FAULT_SEEDS", "12"))))


@pytest.mark.parametrize("seed", seeds())
async def test_nothing_acknowledged_is_lost_or_doubled_whatever_crashes(tmp_path: Path, seed: int) -> None:
    """If this fails, spans that a sender was told are safe are gone, or counted twice."""
    rng = random.Random(seed)
    sent = Sent()
    bodies: list[tuple[str, bytes]] = []
    for _ in range(8):
        for _ in range(rng.randint(1, 4)):
            project, body = draw_request(rng, sent, bodies)
            await append(tmp_path, body, project=project)
            bodies.append((project, body))
        await _maybe_crash_writer(tmp_path, rng)
        if rng.random() < 0.5:
            with contextlib.suppress(Crash):
                await compact_all(tmp_path, EAGER, crash_at(rng.choice(COMPACTOR_STEPS)))
    await write_all(tmp_path, config=SMALL)
    await check(tmp_path, sent)
    await compact_all(tmp_path, EAGER)
    await check(tmp_path, sent)


async def test_a_later_version_in_another_file_takes_the_sums_of_the_first_back(tmp_path: Path) -> None:
    """If this fails, every span that is sent at its start and at its end is counted twice in lists."""
    start = now_ns()
    running = SpanSpec(b"t" * 16, b"s" * 8, start, 0, tokens=5)
    ended = running.ended(start + 50, tokens=7)
    sent = Sent()
    for version in (running, ended):
        sent.add("default", [version])
        await append(tmp_path, request(version))
        await write_all(tmp_path)
    await check(tmp_path, sent)


async def test_the_first_version_arriving_last_does_not_count(tmp_path: Path) -> None:
    """If this fails, the order of delivery changes what a trace says."""
    start = now_ns()
    running = SpanSpec(b"t" * 16, b"s" * 8, start, 0, tokens=5)
    sent = Sent()
    for version in (running.ended(start + 50, tokens=7), running):
        sent.add("default", [version])
        await append(tmp_path, request(version))
        await write_all(tmp_path)
    await check(tmp_path, sent)


async def _maybe_crash_writer(folder: Path, rng: random.Random) -> None:
    step = rng.choice([*WRITER_STEPS, ""])
    with contextlib.suppress(Crash):
        await write_all(folder, config=SMALL, failpoint=crash_at(step, rng.randint(1, 3)))


def draw_request(rng: random.Random, sent: Sent, bodies: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Draw new spans, the same request again, or spans of before among new ones."""
    if bodies and rng.random() < 0.25:
        return rng.choice(bodies)
    project = rng.choice(["default", "other"])
    known = [spec for (owner, *_), spec in sent.spans.items() if owner == project]
    specs = [_span(rng) for _ in range(rng.randint(1, 6))]
    specs += [
        spec.ended(max(spec.start_ns, spec.end_ns) + rng.randint(0, 9), tokens=rng.randint(0, 9))
        for spec in rng.sample(known, min(len(known), rng.randint(0, 3)))
    ]
    rng.shuffle(specs)
    sent.add(project, specs)
    return project, request(*specs)


def _span(rng: random.Random) -> SpanSpec:
    start = now_ns() - rng.choice([0, 3_600, 90_000]) * 10**9 + rng.randint(0, 10**6)
    return SpanSpec(
        trace_id=bytes([rng.randint(1, 6)]) * 16,
        span_id=rng.randbytes(7) + b"\1",
        start_ns=start,
        end_ns=rng.choice([0, start + rng.randint(0, 10**6)]),
        service=rng.choice(["a", "b"]),
        tokens=rng.randint(0, 9),
        error=rng.random() < 0.2,
        text="x" * rng.randint(0, 300),
    )


async def check(folder: Path, sent: Sent, catalog: MetadataStore | None = None) -> None:
    """Compare rows and sums with the oracle, project by project."""
    async with backends(folder, catalog=catalog) as b:
        view = await file_view(b)
        for project in ("default", "other"):
            expected = sent.of(project)
            rows = await b.index.versions(view, project, sorted(expected))
            assert winners(rows).all(), "a superseded version is still visible"
            found = [rows[name].to_pylist() for name in ("trace_id", "span_id", "input_tokens")]
            assert sorted(zip(*found, strict=True)) == sorted(
                (trace, spec.span_id.hex(), spec.tokens) for trace, specs in expected.items() for spec in specs
            )
            sums = await b.index.traces(view, project, limit=1000)
            listed = {trace_id_of(row["trace_hi"], row["trace_lo"]): row for row in sums.to_pylist()}
            assert listed.keys() == expected.keys()
            for trace, specs in expected.items():
                assert listed[trace]["spans"] == len(specs)
                assert listed[trace]["errors"] == sum(spec.error for spec in specs)
                assert listed[trace]["input_tokens"] == sum(spec.tokens for spec in specs)
                assert listed[trace]["start_ns"] == min(spec.start_ns for spec in specs)
