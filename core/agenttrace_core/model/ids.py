"""Trace and span ids: bytes on the wire, lowercase hex in files and answers.

Lengths and the all-zero rule are those of W3C Trace Context and of OTLP:
https://www.w3.org/TR/trace-context/#trace-id
"""

from __future__ import annotations

from agenttrace_core.errors import InvalidInputError

TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8


def parse_trace_id(text: str) -> str:
    """Return a trace id as 32 lowercase hex digits.

    Raises:
        InvalidInputError: ``text`` is not 32 hex digits, or all are zero.
    """
    return _parse_hex(text, TRACE_ID_BYTES, "trace id")


def parse_span_id(text: str) -> str:
    """Return a span id as 16 lowercase hex digits.

    Raises:
        InvalidInputError: ``text`` is not 16 hex digits, or all are zero.
    """
    return _parse_hex(text, SPAN_ID_BYTES, "span id")


def _parse_hex(text: str, size: int, what: str) -> str:
    digits = 2 * size
    if len(text) != digits or not all(c in "0123456789abcdefABCDEF" for c in text):
        raise InvalidInputError(f"{text[:80]!r} is not a {what}: {digits} hex digits are wanted")
    if text == "0" * digits:
        raise InvalidInputError(f"a {what} of zeros is not valid")
    return text.lower()
