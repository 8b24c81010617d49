"""What must hold: all that was acknowledged is readable, once, and every sum is exact; also while it arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from agenttrace_core.services.compact import CompactConfig, plan
from tests.e2e.running import until
from tests.faults.scaled.deployment import FAN_IN, Deployment
from tests.faults.scaled.load import Ledger
from tests.faults.spans import SpanSpec

READABLE_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.1


def check(deployment: Deployment, ledger: Ledger) -> None:
    """See that everything is as it was sent, before compaction and after."""
    check_now(deployment, ledger)
    compact(deployment)
    check_now(deployment, ledger)


def check_now(deployment: Deployment, ledger: Ledger) -> None:
    """See that everything is as it was sent, within a minute."""
    assert not ledger.wrong
    assert ledger.acknowledged == ledger.requests > 10, "not all that was sent was acknowledged"
    _until_none(lambda: _wrong_sums(deployment, ledger))
    _until_none(lambda: _wrong_traces(deployment, ledger))


def check_sums(deployment: Deployment, ledger: Ledger) -> None:
    """See that all sums are exact, within a minute."""
    _until_none(lambda: _wrong_sums(deployment, ledger))


def compact(deployment: Deployment) -> None:
    """Have the compactor merge whatever can be merged."""
    config = CompactConfig(fan_in=FAN_IN)

    def is_done() -> bool:
        return not plan(deployment.snapshot(), config, time.time_ns())

    deployment.compact.start()
    until(is_done, 120)
    assert deployment.compact.stop() == 0


def _until_none(look: Callable[[], Iterable[str]]) -> None:
    """Look for what is wrong until nothing is.

    Raises:
        AssertionError: something still is after a minute.
    """
    give_up = time.monotonic() + READABLE_WITHIN_S
    while True:
        try:
            problems = list(look())
        except httpx.HTTPError as error:
            problems = [repr(error)]
        if not problems:
            return
        assert time.monotonic() < give_up, "\n".join(problems[:20])
        time.sleep(0.2)


def _wrong_sums(deployment: Deployment, ledger: Ledger) -> Iterator[str]:
    specs = list(ledger.sent.spans.values())
    for by in ("", "service"):
        answer = deployment.ask(ledger.project, "/api/v1/analytics/usage", **({"group_by": by} if by else {}))
        found = {row.get(by): {name: row[name] for name in _MEASURES} for row in answer["rows"]}
        wanted = {
            service: _measures([spec for spec in specs if service in (None, spec.service)])
            for service in ({spec.service for spec in specs} if by else [None])
        }
        if found != wanted:
            yield f"usage by {by or 'nothing'}: {found} instead of {wanted}"
        if answer["partial"]:
            yield f"usage is partial: {answer['lag_bytes']} bytes behind"


_MEASURES = ("spans", "traces", "errors", "input_tokens")


def _measures(specs: Sequence[SpanSpec]) -> dict[str, int]:
    return {
        "spans": len(specs),
        "traces": len({spec.trace_id for spec in specs}),
        "errors": sum(spec.error for spec in specs),
        "input_tokens": sum(spec.tokens or 0 for spec in specs),
    }


def _wrong_traces(deployment: Deployment, ledger: Ledger) -> Iterator[str]:
    wanted = ledger.sent.of(ledger.project.name)
    listed = list(_pages(deployment, ledger, "/api/v1/traces", "items"))
    summaries = {trace["trace_id"]: trace for trace in listed}
    if len(listed) != len(summaries):
        yield "a trace is listed twice"
    if missing := wanted.keys() - summaries.keys():
        yield f"{len(missing)} traces are not listed, such as {min(missing)}"
    if unknown := summaries.keys() - wanted.keys():
        yield f"{len(unknown)} traces are listed that were not sent, such as {min(unknown)}"
    for trace_id in wanted.keys() & summaries.keys():
        yield from _wrong_trace(deployment, ledger, summaries[trace_id], wanted[trace_id])


def _wrong_trace(
    deployment: Deployment, ledger: Ledger, summary: dict[str, Any], specs: Sequence[SpanSpec]
) -> Iterator[str]:
    trace_id = summary["trace_id"]
    measures = _measures(specs)
    for name in ("spans", "errors", "input_tokens"):
        if summary[name] != measures[name]:
            yield f"trace {trace_id} is listed with {summary[name]} {name} instead of {measures[name]}"
    rows = list(_pages(deployment, ledger, f"/api/v1/traces/{trace_id}", "spans"))
    found = sorted((row["span_id"], str(row["input_tokens"]), row["duration_ns"]) for row in rows)
    wanted = sorted((spec.span_id.hex(), str(spec.tokens), spec.end_ns - spec.start_ns) for spec in specs)
    if found != wanted:
        yield f"trace {trace_id} has the spans {found} instead of {wanted}"


def _pages(deployment: Deployment, ledger: Ledger, path: str, items: str) -> Iterator[dict[str, Any]]:
    more: dict[str, str] = {}
    while True:
        answer = deployment.ask(ledger.project, path, limit=1000, **more)
        yield from answer[items]
        if not answer["next_cursor"]:
            return
        more = {"cursor": answer["next_cursor"]}


@contextmanager
def watched(deployment: Deployment, ledger: Ledger) -> Iterator[None]:
    """Ask for the sums all the time: they are never more than was sent.

    Unless the answer says that it is partial, they are never less than was acknowledged before it was asked for.
    """
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(deployment, ledger, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)


def _watch(deployment: Deployment, ledger: Ledger, over: threading.Event) -> None:
    while not over.wait(_LOOK_EVERY_S):
        acknowledged = len(ledger.acknowledged_spans)
        try:
            answer = deployment.ask(ledger.project, "/api/v1/analytics/usage")
        except httpx.HTTPError:
            continue
        except AssertionError as error:
            ledger.complain(str(error))
            continue
        spans, tokens = (answer["rows"][0][name] if answer["rows"] else 0 for name in ("spans", "input_tokens"))
        if spans > ledger.spans or tokens > ledger.tokens:
            ledger.complain(f"told of {spans} spans, {tokens} tokens; sent were {ledger.spans}, {ledger.tokens}")
        if spans < acknowledged and not answer["partial"]:
            ledger.complain(f"told of {spans} spans, and not that it is partial; acknowledged were {acknowledged}")
