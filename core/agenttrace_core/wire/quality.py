"""The ``quality`` column while it is being made: a numpy array that each step may mark."""

from __future__ import annotations

from typing import Any

import numpy as np

from agenttrace_core.model.span import Quality

Flags = np.ndarray[Any, np.dtype[np.uint16]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def mark(quality: Flags, where: Mask, bit: Quality) -> None:
    """Set ``bit`` in the items of ``quality`` that ``where`` selects."""
    quality[where] |= np.uint16(bit.value)
