"""Text <-> UTF-8, where a lone surrogate is kept (as its three bytes) and nothing ever fails."""

from __future__ import annotations

import codecs


def text_of(data: bytes | memoryview) -> str:
    """Decode UTF-8. An encoded surrogate becomes that surrogate, any other bad byte U+FFFD."""
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return str(data, "utf-8", _LENIENT)


def bytes_of(text: str) -> bytes:
    """Encode as UTF-8, a lone surrogate as its three bytes."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _surrogate_or_replacement(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return _KEEP_SURROGATE(error)
    except UnicodeError:
        return _REPLACE(error)


_KEEP_SURROGATE = codecs.lookup_error("surrogatepass")
_REPLACE = codecs.lookup_error("replace")
_LENIENT = "agenttrace.surrogate_or_replacement"
codecs.register_error(_LENIENT, _surrogate_or_replacement)
