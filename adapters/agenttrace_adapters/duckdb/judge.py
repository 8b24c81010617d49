"""What a trace predicate says of traces, from what is known of their spans: yes, no, or not to be told yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.exact import spans_of
from agenttrace_adapters.duckdb.predicates import is_decided
from agenttrace_core.model.algebra import (
    AllOf,
    AnyOf,
    NoneOf,
    Related,
    Some,
    SpanPredicate,
    TraceCompare,
    TracePredicate,
)
from agenttrace_core.model.trace import AsOf
from agenttrace_core.query.trace_match import compare_sums
from agenttrace_core.schema.arrays import Bools, UInt64s

_BITS = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of some traces, which may satisfy a predicate, and which surely do."""

    possible: Bools
    sure: Bools


@dataclass(frozen=True, slots=True)
class Scan:
    """A question to light rows, of which the answer is a bit of each trace: whether a span of it is so.

    ``undecided`` is what spans count for that light rows cannot decide.
    """

    predicate: SpanPredicate
    undecided: bool


class Judge:
    """Judges traces by bits, one for each of ``scans``, and by their sums.

    Args:
        where: what is asked.
        as_of: what the state of a trace is judged by.
    """

    def __init__(self, where: TracePredicate, as_of: AsOf | None = None) -> None:
        self._where = where
        self._as_of = as_of
        self._place: dict[str, tuple[int, int]] = {}
        self.scans: list[Scan] = []
        for predicate in dict.fromkeys(map(_Named, spans_of(where))):
            self._add(predicate.predicate)
        self.words = max(1, -(-len(self.scans) // _BITS))
        """64-bit numbers that hold the bits of a trace."""
        nothing = self.verdict(np.zeros((1, self.words), np.uint64), None)
        self.begins_open = bool(nothing.possible[0])
        """Whether traces may satisfy it of which no span satisfies anything."""

    def verdict(self, bits: UInt64s, sums: pa.Table | None) -> Verdict:
        """Judge traces by their bits (a row a trace), and by their sums (schema ``TRACES``) if they are known."""
        possible, sure = self._judge(self._where, bits, sums)
        return Verdict(possible, sure)

    def _add(self, predicate: SpanPredicate) -> None:
        place = len(self.scans)
        self.scans.append(Scan(predicate, undecided=True))
        if not is_decided(predicate):
            self.scans.append(Scan(predicate, undecided=False))
        self._place[repr(predicate)] = place, len(self.scans) - 1

    def _bits(self, predicate: SpanPredicate, bits: UInt64s) -> tuple[Bools, Bools]:
        possible, sure = (_bit(bits, place) for place in self._place[repr(predicate)])
        return possible, sure

    def _judge(self, where: TracePredicate, bits: UInt64s, sums: pa.Table | None) -> tuple[Bools, Bools]:
        all_of, none_of = np.ones(len(bits), np.bool_), np.zeros(len(bits), np.bool_)
        match where:
            case Some(span):
                return self._bits(span, bits)
            case TraceCompare():
                return self._compared(where, bits, sums)
            case Related(first, steps):
                parts = [self._bits(span, bits)[0] for span in (first, *(step.span for step in steps))]
                return _all(parts), none_of
            case AllOf(of):
                judged = [self._judge(part, bits, sums) for part in of] or [(all_of, all_of)]
                return _all([p for p, _ in judged]), _all([s for _, s in judged])
            case AnyOf(of):
                judged = [self._judge(part, bits, sums) for part in of] or [(none_of, none_of)]
                return _any([p for p, _ in judged]), _any([s for _, s in judged])
            case NoneOf(of):
                possible, sure = self._judge(of, bits, sums)
                return ~sure, ~possible

    def _compared(self, where: TraceCompare, bits: UInt64s, sums: pa.Table | None) -> tuple[Bools, Bools]:
        if sums is None:
            return np.ones(len(bits), np.bool_), np.zeros(len(bits), np.bool_)
        holds = compare_sums(sums, where, self._as_of)
        return holds, holds


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """A predicate that equals what is written like it: ``True == 1`` would make one of two."""

    predicate: SpanPredicate

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Named) and repr(self.predicate) == repr(other.predicate)

    def __hash__(self) -> int:
        return hash(repr(self.predicate))


def _all(conditions: list[Bools]) -> Bools:
    found: Bools = np.logical_and.reduce(conditions)
    return found


def _any(conditions: list[Bools]) -> Bools:
    found: Bools = np.logical_or.reduce(conditions)
    return found


def _bit(bits: UInt64s, place: int) -> Bools:
    word, bit = divmod(place, _BITS)
    found: Bools = (bits[:, word] >> np.uint64(bit)) & np.uint64(1) != 0
    return found
