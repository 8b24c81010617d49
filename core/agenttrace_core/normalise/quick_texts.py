"""The text of one message out of OpenTelemetry's messages, of a whole batch at once, without parsing.

It knows the form in which nearly all arrive: JSON as one serialiser or the other writes it, and the
text first in its message. What looks otherwise (or has escapes, or letters beyond ASCII, among its first
characters, or blanks around them) is left to others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.schema.arrays import Bools, Int64s
from agenttrace_core.schema.keys import numbers_of

CHARACTERS: Final = 200
_BLANK, _QUOTE, _BACKSLASH, _LAST_ASCII = 0x20, 0x22, 0x5C, 0x7F
_MOST_BLANKS: Final = 4

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class Style:
    """How a serialiser writes messages. ``heads`` is what may stand between a role and its message's text."""

    opening: bytes
    user: bytes
    assistant: bytes
    heads: tuple[bytes, ...]

    @classmethod
    def of(cls, blank: bytes) -> Style:
        """Return the style that has ``blank`` after colons and commas."""
        parts = blank + b'"parts":' + blank + b"[{"
        kind, content = b'"type":' + blank + b'"text",', b'"content":' + blank + b'"'
        return cls(
            opening=b'[{"role":' + blank + b'"',
            user=b'"role":' + blank + b'"user",',
            assistant=b'[{"role":' + blank + b'"assistant",',
            heads=(parts + kind + blank + content, parts + content, blank + content),
        )


STYLES: Final = (Style.of(b""), Style.of(b" "))


def quick_texts(texts: pa.BinaryArray, style: Style, *, of_user: bool) -> tuple[Int64s, pa.StringArray]:
    """Return the rows whose text was found, ascending, and its first 200 characters: the user's last, or the first."""
    here = np.asarray(pc.starts_with(texts, style.opening.decode()).fill_null(False))
    if not here.any():
        return np.zeros(0, np.int64), pa.array([], pa.string())
    offsets = numbers_of(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    data = numbers_of(texts.buffers()[2], np.uint8)[: offsets[-1]]
    at = _after_last_user(data, offsets, style.user) if of_user else _after_assistant(texts, offsets, style.assistant)
    at[~here] = -1
    rows = np.flatnonzero(at >= 0)
    return _cut(data, rows, *_after_head(data, at[rows], style.heads), offsets[1:])


def _after_last_user(data: Bytes, offsets: Int64s, user: bytes) -> Int64s:
    """Return where, in each row, the last role that is the user's ends; -1 where none is."""
    bounds = offsets.tolist()
    found = map(data.tobytes().rfind, repeat(user), bounds[:-1], bounds[1:])
    positions = np.fromiter(found, np.int64, len(offsets) - 1)
    return np.where(positions < 0, -1, positions + len(user))


def _after_assistant(texts: pa.BinaryArray, offsets: Int64s, assistant: bytes) -> Int64s:
    is_one = np.asarray(pc.starts_with(texts, assistant.decode()).fill_null(False))
    return np.where(is_one, offsets[:-1] + len(assistant), -1)


def _after_head(data: Bytes, at: Int64s, heads: tuple[bytes, ...]) -> tuple[Int64s, Bools]:
    """Return where the text begins, and whether it does."""
    begin, known = at.copy(), np.zeros(len(at), np.bool_)
    for head in heads:
        left = np.flatnonzero(~known & (at + len(head) <= len(data)))
        if len(left) == 0:
            break
        windows = np.lib.stride_tricks.sliding_window_view(data, len(head))[at[left]]
        same = left[(windows == np.frombuffer(head, np.uint8)).all(axis=1)]
        begin[same] += len(head)
        known[same] = True
    return begin, known


def _cut(data: Bytes, rows: Int64s, begin: Int64s, known: Bools, row_end: Int64s) -> tuple[Int64s, pa.StringArray]:
    """Cut the beginnings of texts out, none beyond its own row; leave out what is not plain."""
    begin = _after_blanks(data, begin)
    known &= begin + CHARACTERS < len(data)
    rows, begin = rows[known], begin[known]
    if len(rows) == 0:
        return rows, pa.array([], pa.string())
    pieces = np.lib.stride_tricks.sliding_window_view(data, CHARACTERS)[begin]
    special = (pieces == _QUOTE) | (pieces == _BACKSLASH)
    first = special.argmax(axis=1)
    stop = pieces[np.arange(len(rows)), first]
    length = np.where((stop == _QUOTE) | (stop == _BACKSLASH), first, CHARACTERS)
    length = np.minimum(length, row_end[rows] - begin)
    length = _before_blanks(data, begin, length)
    within = np.arange(CHARACTERS, dtype=np.uint8) < length.astype(np.uint8)[:, None]
    plain = (length > 0) & (stop != _BACKSLASH) & ~(within & (pieces > _LAST_ASCII)).any(axis=1)
    plain &= (pieces[:, 0] > _BLANK) & _ends_well(data, begin, length, row_end[rows])
    rows, begin, length = rows[plain], begin[plain], length[plain]
    # Every other item of these is a text; those between are what lies between the texts.
    bounds = np.column_stack([begin, begin + length]).astype(np.int32).reshape(-1)
    all_items = pa.Array.from_buffers(
        pa.string(), max(len(bounds) - 1, 0), [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    )
    return rows, all_items.take(pa.array(np.arange(0, len(bounds), 2)))


def _after_blanks(data: Bytes, begin: Int64s) -> Int64s:
    """Step over the few blanks that a text may begin with."""
    for _ in range(_MOST_BLANKS):
        is_blank = data[np.minimum(begin, len(data) - 1)] == _BLANK
        if not is_blank.any():
            break
        begin = begin + is_blank
    return begin


def _before_blanks(data: Bytes, begin: Int64s, length: Int64s) -> Int64s:
    """Leave out the few blanks that a text may end with; of one that is cut, more may follow."""
    is_whole = length < CHARACTERS
    for _ in range(_MOST_BLANKS):
        is_blank = is_whole & (length > 0) & (data[begin + length - 1] == _BLANK)
        if not is_blank.any():
            break
        length = length - is_blank
    return length


def _ends_well(data: Bytes, begin: Int64s, length: Int64s, row_end: Int64s) -> Bools:
    """Say which texts end with no blank, or go on behind it: then it is one of their first characters as any other."""
    end = begin + length
    following = data[end]
    goes_on = (length == CHARACTERS) & (end < row_end) & (following > _BLANK) & (following <= _LAST_ASCII)
    goes_on &= (following != _QUOTE) & (following != _BACKSLASH)
    well: Bools = goes_on | (data[end - 1] > _BLANK)
    return well
