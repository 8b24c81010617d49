"""How values of the model are kept in columns."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np

from agenttrace_core.model.segment import Segment, StoredObject
from agenttrace_core.ports.catalog import DeadLetter

LetterRow = tuple[str, str, str, int, str, int, str | None, int | None, str | None]
"""id, project, signal, received_ns, reason, spans, object_key, object_size, object_checksum."""


def encode_segments(segments: Sequence[Segment]) -> str:
    """Return segments as JSON, without the names of their fields: a file may have thousands."""
    return json.dumps(
        [
            (s.project, s.window, s.first_row, s.rows, s.first_trace, s.traces, s.min_start_ns, s.max_start_ns,
             s.raw_bytes)
            for s in segments
        ],
        separators=(",", ":"),
    )  # fmt: skip


def decode_segments(text: str) -> tuple[Segment, ...]:
    """Read what ``encode_segments`` wrote."""
    return tuple(Segment(sys.intern(project), *numbers) for project, *numbers in json.loads(text))


def encode_row_numbers(rows: Sequence[int]) -> bytes:
    """Return row numbers as little-endian unsigned 32-bit integers."""
    return np.asarray(rows, "<u4").tobytes()


def decode_row_numbers(data: bytes) -> tuple[int, ...]:
    """Read what ``encode_row_numbers`` wrote."""
    return tuple(np.frombuffer(data, "<u4").tolist())


def encode_letter(letter: DeadLetter) -> LetterRow:
    """Return a letter as the columns of a row."""
    head = (letter.id, letter.project, letter.signal, letter.received_ns, letter.reason, letter.spans)
    if letter.object is None:
        return (*head, None, None, None)
    return (*head, letter.object.key, letter.object.size, letter.object.checksum)


def decode_letter(row: LetterRow) -> DeadLetter:
    """Read what ``encode_letter`` wrote."""
    letter_id, project, signal, received_ns, reason, spans, key, size, checksum = row
    kept = None if key is None or size is None or checksum is None else StoredObject(key, size, checksum)
    return DeadLetter(letter_id, project, signal, received_ns, reason, spans, kept)
