"""The agents, sessions and users that remembered spans name, each set of three once, by number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from agenttrace_core.query.context import OWN
from agenttrace_core.schema.arrays import Int64s, whole

Naming = tuple[str | None, ...]

_NOBODY: Naming = (None, None, None)


class Names:
    """Numbers of sets of (agent, session, user); 0 is that of none."""

    def __init__(self) -> None:
        self._sets: list[Naming] = [_NOBODY]
        self._ids: dict[Naming, int] = {_NOBODY: 0}

    def __len__(self) -> int:
        return len(self._sets)

    def of_rows(self, rows: pa.Table) -> Int64s:
        """Return the number of what each row of ``LIGHT`` names itself."""
        columns = [whole(rows[name]) for name in OWN]
        if all(column.null_count == len(rows) for column in columns):
            return np.zeros(len(rows), np.int64)
        encoded = [column.dictionary_encode() for column in columns]
        texts = [[None, *column.dictionary.to_pylist()] for column in encoded]
        codes = [np.asarray(column.indices.fill_null(-1)).astype(np.int64) + 1 for column in encoded]
        return self.of_codes(texts, codes)

    def of_codes(self, texts: Sequence[Sequence[str | None]], codes: Sequence[Int64s]) -> Int64s:
        """Return the numbers of sets whose three texts are given by their places in ``texts``."""
        joint = (codes[0] * len(texts[1]) + codes[1]) * len(texts[2]) + codes[2]
        _, first, inverse = np.unique(joint, return_index=True, return_inverse=True)
        sets = zip(
            *([known[i] for i in own[first].tolist()] for known, own in zip(texts, codes, strict=True)), strict=True
        )
        namings = list(sets)
        known_ids = list(map(self._ids.get, namings))
        ids = [self._add(naming) if known is None else known for naming, known in zip(namings, known_ids, strict=True)]
        numbers: Int64s = np.array(ids, np.int64)[inverse]
        return numbers

    def split(self, ids: Int64s) -> list[tuple[pa.Array, Int64s]]:
        """Return, for agent, session and user, the texts that sets name, and each set's place among them (-1: none)."""
        distinct, inverse = np.unique(ids, return_inverse=True)
        sets = [self._sets[i] for i in distinct.tolist()]
        found: list[tuple[pa.Array, Int64s]] = []
        for named in zip(*sets, strict=True) if sets else [()] * len(OWN):
            encoded = pa.array(named, pa.string()).dictionary_encode()
            codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
            found.append((encoded.dictionary, codes[inverse]))
        return found

    def keep(self, used: Int64s) -> Int64s:
        """Forget all sets but those ``used`` (ascending, 0 among them); return by old number the new one."""
        moved = np.zeros(len(self._sets), np.int64)
        moved[used] = np.arange(len(used))
        self._sets = [self._sets[i] for i in used.tolist()]
        self._ids = {naming: i for i, naming in enumerate(self._sets)}
        return moved

    def _add(self, naming: Naming) -> int:
        self._sets.append(naming)
        return self._ids.setdefault(naming, len(self._sets) - 1)
