"""The live table: spans that are acknowledged and decoded, but not in files yet."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from agenttrace_core.model.segment import OffsetRange, Superseded
from agenttrace_core.ports.adapter import Adapter
from agenttrace_core.schema.tables import CONTEXTS, FLIPS, LOGS


@dataclass(frozen=True, slots=True)
class LiveChunk:
    """Some decoded records. ``rows`` is in the ``ROWS`` schema, ``traces`` in ``TRACES``, ``logs`` in ``LOGS``.

    ``flips`` (``FLIPS``) and ``contexts`` (``CONTEXTS``) are what they change for rows that were written before,
    or in the same chunk; see ``agenttrace_core.query.amend``.

    ``ranges`` says which records went in; a chunk lies wholly at or above a watermark, or wholly
    below it. ``first_row`` and ``rows`` of ``traces`` are not set (0): rows are in order of
    arrival. A chunk never holds two versions of one span.
    """

    id: str
    ranges: tuple[OffsetRange, ...]
    rows: pa.Table
    traces: pa.Table
    logs: pa.Table = field(default_factory=LOGS.empty_table)
    flips: pa.Table = field(default_factory=FLIPS.empty_table)
    contexts: pa.Table = field(default_factory=CONTEXTS.empty_table)


@dataclass(frozen=True, slots=True)
class LiveState:
    """The live table at one moment.

    ``tail`` is, by partition, the offset up to which records have been decoded; everything
    below it is in a chunk or below the watermark. ``epoch`` names the writer's life.
    ``dead`` lists rows of chunks that a later version replaced; ``superseded`` rows of files
    that a row of a chunk replaced, until the commit that says so. ``traces`` of a chunk with dead
    rows have been corrected already.
    """

    epoch: str = ""
    tail: Mapping[int, int] = field(default_factory=dict)
    chunks: Sequence[LiveChunk] = ()
    dead: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    superseded: Sequence[Superseded] = ()


class LiveTable(Adapter, Protocol):
    """Publishes a writer's chunks to readers on the same machine."""

    @abstractmethod
    async def publish(self, state: LiveState) -> LiveState:
        """Make ``state`` what readers see, atomically, and forget what it no longer names.

        Returns the state with every chunk's tables as readers have them (mapped from where they
        are shared), so that the writer can let go of its own copies. A chunk whose id is
        published already is not written again, but for its ``traces`` where they were corrected.
        """

    @abstractmethod
    async def current(self) -> LiveState:
        """Return the newest published state; cheap enough to call for every query.

        Tables stay readable for as long as they are referenced.
        """
