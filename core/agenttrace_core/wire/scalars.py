"""The scalar values of OTLP/JSON <-> Python, by proto3's JSON mapping and OTLP's own rule for ids.

https://protobuf.dev/programming-guides/json/ and https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding

Readers take what they must (64-bit integers as text or number, whole numbers written with a
fraction or an exponent, enum values by name) and raise ``WrongFieldError`` for anything else.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Mapping
from typing import Final

from agenttrace_core.wire.wrong_field import WrongFieldError, not_a

INT32: Final = (-(2**31), 2**31 - 1)
INT64: Final = (-(2**63), 2**63 - 1)
UINT32: Final = (0, 2**32 - 1)
UINT64: Final = (0, 2**64 - 1)

_INTEGER: Final = re.compile(r"-?[0-9]{1,25}", re.ASCII)
_REAL: Final = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,5})?", re.ASCII)
_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_URL_SAFE: Final = str.maketrans("-_", "+/")
DOUBLE: Final = struct.Struct("<d")


def integer(value: object, bounds: tuple[int, int]) -> int:
    """Read a whole number within ``bounds``, both of which are allowed."""
    number: int | None = None
    if type(value) is int:
        number = value
    elif type(value) is str and _INTEGER.fullmatch(value):
        number = int(value)
    elif type(value) is str and _REAL.fullmatch(value):
        return _whole(float(value), value, bounds)
    elif type(value) is float:
        return _whole(value, value, bounds)
    if number is None:
        raise not_a("an integer", value)
    if not bounds[0] <= number <= bounds[1]:
        raise not_a(f"within {bounds[0]} and {bounds[1]}", value)
    return number


def _whole(real: float, value: object, bounds: tuple[int, int]) -> int:
    # A float at a bound of 64 bits may be a rounded integer beyond it.
    if not real.is_integer() or not bounds[0] - 1 < real < bounds[1] + 1:
        raise not_a(f"an integer within {bounds[0]} and {bounds[1]}", value)
    if bounds[0] < 0 and real <= INT64[0]:
        raise not_a(f"an integer within {bounds[0]} and {bounds[1]}", value)
    return int(real)


def real(value: object) -> float:
    """Read a double: a number, or text of one, or ``"NaN"``, ``"Infinity"``, ``"-Infinity"``."""
    try:
        if type(value) is float or type(value) is int:
            return float(value)
        if type(value) is str:
            return _NOT_FINITE[value] if value in _NOT_FINITE else float(_REAL.fullmatch(value)[0])  # type: ignore[index]
    except (OverflowError, TypeError) as error:
        raise not_a("a double", value) from error
    raise not_a("a double", value)


def real_json(value: float) -> float | str:
    """Write a double as JSON can hold it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def enum(value: object, names: Mapping[str, int]) -> int:
    """Read an enum value: a number, of which any is allowed, or one of ``names``."""
    if type(value) is str and value in names:
        return names[value]
    try:
        return integer(value, INT32)
    except WrongFieldError:
        raise not_a(f"a number or one of {', '.join(names)}", value) from None


def blob(value: object) -> bytes:
    """Read base64, standard or URL-safe, padded or not."""
    if type(value) is str:
        try:
            return base64.b64decode(value.translate(_URL_SAFE) + "=" * (-len(value) % 4), validate=True)
        except (binascii.Error, ValueError):
            pass
    raise not_a("base64", value)


def blob_json(value: bytes | memoryview) -> str:
    """Write padded standard base64."""
    return base64.b64encode(value).decode()


def identity(value: object, size: int) -> bytes:
    """Read an id of ``size`` bytes: hex digits of either case.

    Padded base64 of as many bytes, which is how protobuf's own JSON prints ids and some exporters
    send them, is read too: it has another length than hex and ends in ``=``, so it is never both.
    """
    if type(value) is str:
        raw = _unhex(value) if len(value) == 2 * size else _unbase64(value)
        if raw is not None and len(raw) == size:
            if any(raw):
                return raw
            raise WrongFieldError(f"{2 * size} zeros are not a valid id")
    raise not_a(f"{2 * size} hex digits", value)


def loose_identity(value: object, size: int) -> bytes:
    """Read the id of another span, which may be empty, all zeros, or of a wrong length."""
    if type(value) is str:
        raw = _unhex(value)
        if raw is None:
            raw = _unbase64(value)
            raw = raw if raw is not None and len(raw) == size else None
        if raw is not None:
            return raw
    raise not_a(f"{2 * size} hex digits", value)


def _unhex(text: str) -> bytes | None:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if 2 * len(raw) == len(text) else None  # fromhex passes over blanks


def _unbase64(text: str) -> bytes | None:
    if not text.endswith("="):
        return None
    try:
        return blob(text)
    except WrongFieldError:
        return None
