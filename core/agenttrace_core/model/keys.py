"""Keys of stored objects, in a form that every storage can hold and none can be led astray by."""

from __future__ import annotations

import re

from agenttrace_core.errors import InvalidInputError

_MAX_KEY = 1024
_MAX_SEGMENT = 255
_SEGMENT = re.compile(r"[A-Za-z0-9._=-]+")


def check_key(key: str) -> str:
    """Return ``key`` if it can name an object.

    Raises:
        InvalidInputError: it is not ``/``-separated segments of ``[A-Za-z0-9._=-]``, one of them
            is ``.`` or ``..`` or longer than 255, or the whole is longer than 1,024.
    """
    if len(key) > _MAX_KEY or not all(_is_segment(part) for part in key.split("/")):
        raise InvalidInputError(
            f"key {key[:80]!r} is not valid: use '/'-separated segments of A-Z a-z 0-9 . _ = -, "
            f"none empty, '.' or '..', at most {_MAX_SEGMENT} each and {_MAX_KEY} in all"
        )
    return key


def _is_segment(part: str) -> bool:
    return len(part) <= _MAX_SEGMENT and part not in (".", "..") and _SEGMENT.fullmatch(part) is not None
