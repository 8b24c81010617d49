"""The ``quality`` column while it is being made: a numpy array that each step may mark; and the commonest step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from agenttrace_core.model.span import Quality

Flags = np.ndarray[Any, np.dtype[np.uint16]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def mark(quality: Flags, where: Mask, bit: Quality) -> None:
    """Set ``bit`` in the items of ``quality`` that ``where`` selects."""
    quality[where] |= np.uint16(bit.value)


def as_text(values: pa.BinaryArray, quality: Flags) -> pa.StringArray:
    """Return ``values`` as strings; where one is not UTF-8, with U+FFFD, and marked in ``quality``.

    ``quality`` has one item a value and is changed in place. Nulls stay null.
    """
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        originals = values.to_pylist()
        texts = [None if value is None else value.decode("utf-8", "replace") for value in originals]
        changed = [text is not None and text.encode() != value for text, value in zip(texts, originals, strict=True)]
        mark(quality, np.array(changed), Quality.BAD_UTF8)
        return pa.array(texts, pa.string())
