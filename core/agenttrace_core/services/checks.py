"""Reads a request of any signal and encoding, and parts what can be stored from what cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenttrace_core.ports.queue import Signal
from agenttrace_core.wire.check import check_traces
from agenttrace_core.wire.envelope import Refusal
from agenttrace_core.wire.json_read import traces_from_json
from agenttrace_core.wire.logs import logs_from_json, select_genai_events
from agenttrace_core.wire.status import Encoding

_REASONS_TOLD = 3


@dataclass(frozen=True, slots=True)
class Checked:
    """A request, read. ``body`` is the protobuf to append, empty where ``accepted`` is 0.

    ``refused_body`` holds what was refused, in ``refused_encoding``: a request in protobuf, or a
    JSON array of items. It is empty for log records that are no GenAI events: an application's
    logs are not ours to keep.
    """

    body: bytes
    accepted: int
    rejected: int = 0
    reason: str = ""
    refused_body: bytes = b""
    refused_encoding: Encoding = Encoding.PROTOBUF


def check(signal: Signal, body: bytes, encoding: Encoding) -> Checked:
    """Read a request of ``signal``.

    Raises:
        InvalidInputError: it cannot be read at all.
    """
    if signal is Signal.LOGS:
        return _check_logs(body, encoding)
    if encoding is Encoding.JSON:
        return _check_json_traces(body)
    traces = check_traces(body)
    return Checked(traces.body, traces.accepted, traces.rejected, traces.reason, traces.refused_body)


def _check_json_traces(body: bytes) -> Checked:
    traces = traces_from_json(body)
    return Checked(
        traces.body,
        traces.spans,
        len(traces.refused),
        _summary(traces.refused, traces.spans, "spans"),
        _items(traces.refused),
        Encoding.JSON,
    )


def _check_logs(body: bytes, encoding: Encoding) -> Checked:
    unread: Sequence[Refusal] = ()
    if encoding is Encoding.JSON:
        logs = logs_from_json(body)
        body, unread = logs.body, logs.refused
    selected = select_genai_events(body)
    reasons = [_summary(unread, selected.kept + selected.refused, "log records"), selected.reason]
    return Checked(
        selected.body,
        selected.kept,
        len(unread) + selected.refused,
        "; ".join(filter(None, reasons)),
        _items(unread),
        Encoding.JSON if unread else Encoding.PROTOBUF,
    )


def _summary(refused: Sequence[Refusal], accepted: int, what: str) -> str:
    """Tell how many were refused, and why the first few were."""
    if not refused:
        return ""
    told = [refusal.reason for refusal in refused[:_REASONS_TOLD]]
    if len(refused) > _REASONS_TOLD:
        told.append(f"and {len(refused) - _REASONS_TOLD} more")
    return f"{len(refused)} of {accepted + len(refused)} {what} refused: " + "; ".join(told)


def _items(refused: Sequence[Refusal]) -> bytes:
    return b"[" + b",".join(refusal.item_json for refusal in refused) + b"]" if refused else b""
