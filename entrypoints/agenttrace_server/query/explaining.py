"""Explanations as the API writes them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from agenttrace_core.normalise.explain import Reason
from agenttrace_core.services.explain import Explanation
from agenttrace_core.wire import json_text


def explanations(trace_id: str, found: Sequence[Explanation]) -> bytes:
    """``GET /api/v1/traces/{trace_id}/spans/{span_id}/explain``: the first, and the others that share its id."""
    first, *others = [_one(explanation) for explanation in found]
    return json_text.dumps({"trace_id": trace_id, **first, "others": others})


def _one(found: Explanation) -> dict[str, Any]:
    return {
        "span_id": found.span_id,
        "name": found.name,
        "version": found.version,
        "fields": [_reason(found, reason) for reason in found.reasons],
    }


def _reason(found: Explanation, reason: Reason) -> dict[str, Any]:
    told = {
        "field": reason.column,
        "value": _value(reason.value),
        "rule": reason.rule,
        "attributes": list(reason.attributes),
        "note": reason.note,
    }
    if reason.column in found.stored:
        told["stored"] = _value(found.stored[reason.column])
    return told


def _value(value: Any) -> Any:
    return f"{value:.12f}" if isinstance(value, Decimal) else value
