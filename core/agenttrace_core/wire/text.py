"""Bytes that should be UTF-8, as text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from agenttrace_core.model.span import Quality
from agenttrace_core.wire.quality import Flags, mark


def as_text(values: pa.BinaryArray, quality: Flags) -> pa.StringArray:
    """Return ``values`` as strings; where one is not UTF-8, with U+FFFD, and flagged in ``quality``.

    ``quality`` has one item a value and is changed in place. Nulls stay null.
    """
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [None if value is None else value.decode("utf-8", "replace") for value in values.to_pylist()]
        originals = (None if text is None else text.encode() for text in texts)
        changed = [new != old for new, old in zip(originals, values.to_pylist(), strict=True)]
        mark(quality, np.array(changed), Quality.BAD_UTF8)
        return pa.array(texts, pa.string())
