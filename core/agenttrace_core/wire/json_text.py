"""JSON text <-> Python values, for what real senders write: any depth, lone surrogates, NaN, a BOM.

orjson reads and writes nearly all of it. What it refuses (depth over 1,024, lone surrogates,
``NaN``, bad UTF-8) goes to the standard library, and what is too deep for that to a reader and
writer without recursion. orjson makes floats of integers outside of -2**63 .. 2**64-1.
"""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # documented in the module's source alone
from json.encoder import encode_basestring_ascii
from typing import Any, Final

import orjson

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.wire.utf8 import text_of

MAX_DEPTH: Final = 100_000
"""Arrays and objects inside one another."""
MAX_DEEP_VALUES: Final = 500_000
"""Values in a body that is too deep for the quick readers; bounds the seconds that one may take."""

_TOKEN: Final = re.compile(
    r'[ \t\n\r]*(?:(?P<mark>[\[\]{},:"])'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?P<real>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?))"
    r"|(?P<word>true|false|null|NaN|-?Infinity))"
)
_WORDS: Final = {
    "true": True, "false": False, "null": None,
    "NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf"),
}  # fmt: skip


def loads(body: bytes) -> Any:
    """Return the value that ``body`` is the text of; the last of an object's equal names counts.

    Bytes that are not UTF-8 become U+FFFD, except encoded surrogates, which are kept.

    Raises:
        InvalidInputError: it is not JSON; the message says where. Or it exceeds ``MAX_DEPTH``, or is
            deeper than 1,000 and holds more than ``MAX_DEEP_VALUES``.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = text_of(body.removeprefix(b"\xef\xbb\xbf"))
    try:
        return json.loads(text)
    except RecursionError:
        return _loads_deep(text)
    except ValueError as error:
        raise InvalidInputError(f"the body is not JSON: {error}") from error


def dumps(value: Any) -> bytes:
    """Return compact JSON of dicts with text keys, lists, text, finite numbers, booleans and None."""
    try:
        return orjson.dumps(value)
    except (TypeError, RecursionError):
        return dumps_exactly(value)


def dumps_exactly(value: Any) -> bytes:
    """Do as ``dumps``, slower, and write NaN and infinities as ``NaN`` and ``Infinity``."""
    out: list[str] = []
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is _Written:
            out.append(item)
        elif isinstance(item, dict):
            waiting.append(_Written("}"))
            waiting.extend(reversed(_members(item)))
        elif isinstance(item, list | tuple):
            waiting.append(_Written("]"))
            waiting.extend(reversed(_elements(item)))
        elif isinstance(item, str):
            out.append(encode_basestring_ascii(item))
        else:
            out.append(json.dumps(item))
    return "".join(out).encode()


class _Written(str):
    """Text that is JSON already."""

    __slots__ = ()


def _members(item: dict[str, Any]) -> list[Any]:
    parts: list[Any] = [] if item else [_Written("{")]
    for name, value in item.items():
        parts += (_Written(f"{',' if parts else '{'}{encode_basestring_ascii(name)}:"), value)
    return parts


def _elements(item: list[Any] | tuple[Any, ...]) -> list[Any]:
    parts: list[Any] = [] if item else [_Written("[")]
    for value in item:
        parts += (_Written("," if parts else "["), value)
    return parts


def _loads_deep(text: str) -> Any:
    """Read JSON with a list in place of the call stack. Every value joins its container at once."""
    reader = _DeepReader(text)
    for _ in range(MAX_DEEP_VALUES):
        if reader.read_value():
            return reader.top[0]
    raise InvalidInputError(f"the body is nested deeply and holds over {MAX_DEEP_VALUES:,} values; send less at once")


class _DeepReader:
    """``read_value`` reads one scalar, or the beginning of one container, and what closes after it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.top: list[Any] = []
        self.open: list[Any] = [self.top]
        self.name = ""

    def read_value(self) -> bool:
        """Read on by one value; true when the text is at its end."""
        value, opened = self._value(self._token())
        container = self.open[-1]
        if isinstance(container, dict):
            container[self.name] = value
        else:
            container.append(value)
        if opened:
            self.open.append(value)
            if len(self.open) > MAX_DEPTH:
                raise InvalidInputError(f"the body is nested deeper than {MAX_DEPTH:,} levels")
        return self._to_next_value(just_opened=opened)

    def _value(self, token: re.Match[str]) -> tuple[Any, bool]:
        match token.lastgroup:
            case "mark":
                return self._marked(token)
            case "word":
                return _WORDS[token["word"]], False
            case _:
                return self._number(token), False

    def _marked(self, token: re.Match[str]) -> tuple[Any, bool]:
        match token["mark"]:
            case "[":
                return [], True
            case "{":
                return {}, True
            case '"':
                return self._string(), False
            case _:
                raise self._error("a value is wanted", token)

    def _number(self, token: re.Match[str]) -> int | float:
        digits = token["number"]
        return float(digits) if token["real"] or len(digits) > 40 else int(digits)

    def _string(self) -> str:
        try:
            value, self.at = scanstring(self.text, self.at, True)
        except ValueError as error:
            raise InvalidInputError(f"the body is not JSON: {error}") from error
        return str(value)

    def _to_next_value(self, *, just_opened: bool) -> bool:
        """Go past commas, names and closing marks to where a value begins, or to the end."""
        while len(self.open) > 1:
            is_object = isinstance(self.open[-1], dict)
            before = self.at
            token = self._token()
            mark = token["mark"]
            if mark == ("}" if is_object else "]"):
                self.open.pop()
                just_opened = False
                continue
            if just_opened:
                self.at = before
            elif mark != ",":
                raise self._error("',' or a closing bracket is wanted", token)
            if is_object:
                self._read_name()
            return False
        if self.text[self.at :].strip(" \t\n\r"):
            raise InvalidInputError(f"the body is not JSON: more text after its end: char {self.at}")
        return True

    def _read_name(self) -> None:
        token = self._token()
        if token["mark"] != '"':
            raise self._error("a name in double quotes is wanted", token)
        self.name = self._string()
        colon = self._token()
        if colon["mark"] != ":":
            raise self._error("':' is wanted", colon)

    def _token(self) -> re.Match[str]:
        token = _TOKEN.match(self.text, self.at)
        if token is None:
            raise InvalidInputError(f"the body is not JSON: a value is wanted: char {self.at}")
        self.at = token.end()
        return token

    def _error(self, wanted: str, token: re.Match[str]) -> InvalidInputError:
        return InvalidInputError(f"the body is not JSON: {wanted}: char {token.end() - 1}")
