"""OTLP/JSON reduced to what it means, so that what was sent and what comes back can be compared span for span.

Written without the product's own reader: an error in that one must not hide itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

_IDS = {"traceId", "spanId", "parentSpanId"}
_ENUMS = {
    "SPAN_KIND_UNSPECIFIED": 0, "SPAN_KIND_INTERNAL": 1, "SPAN_KIND_SERVER": 2, "SPAN_KIND_CLIENT": 3,
    "SPAN_KIND_PRODUCER": 4, "SPAN_KIND_CONSUMER": 5,
    "STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2,
}  # fmt: skip


def span_multiset(lines: Iterator[bytes]) -> Counter[str]:
    """Count the spans of some requests, each with its resource and scope."""
    return Counter(
        json.dumps([resource, scope, span], sort_keys=True) for line in lines for resource, scope, span in _spans(line)
    )


def _spans(line: bytes) -> Iterator[tuple[Any, Any, Any]]:
    for by_resource in json.loads(line).get("resourceSpans", []):
        resource = _message({key: value for key, value in by_resource.items() if key != "scopeSpans"})
        for by_scope in by_resource.get("scopeSpans", []):
            scope = _message({key: value for key, value in by_scope.items() if key != "spans"})
            for span in by_scope.get("spans", []):
                yield resource, scope, _message(span)


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Drop what has its default value, as protobuf does not tell that from absence."""
    fields = {key: _any_value(value) if key == "value" else _field(key, value) for key, value in message.items()}
    return {key: value for key, value in fields.items() if value not in (None, 0, "", [], False) and value != {}}


def _field(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return _message(value)
    if isinstance(value, list):
        # A message in a list counts even when it is empty: the list's length says so.
        return [_message(item) if isinstance(item, dict) else item for item in value]
    if key in _IDS:
        return str(value).lower()
    if key in ("kind", "code"):
        return _ENUMS.get(value, value)
    if key.endswith(("UnixNano", "Count")) or key == "flags":
        return int(value)
    return value


def _any_value(value: dict[str, Any]) -> Any:
    if not value:
        return None
    ((kind, held),) = value.items()
    if kind == "intValue":
        return [kind, int(held)]
    if kind == "doubleValue":
        return [kind, repr(float(held))]
    if kind == "arrayValue":
        return [kind, [_any_value(item) for item in held.get("values", [])]]
    if kind == "kvlistValue":
        return [kind, [[pair.get("key", ""), _any_value(pair.get("value", {}))] for pair in held.get("values", [])]]
    return [kind, held]
