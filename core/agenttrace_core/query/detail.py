"""One trace in few words, from all of its rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.trace_detail import MissingParent, PathStep, ServiceSkew, TraceDetail, TraceError
from agenttrace_core.query.critical import critical_path
from agenttrace_core.query.shape import TraceShape
from agenttrace_core.schema.arrays import Bools, Int64s, whole

MOST_NAMES = 100
"""So many agents, models or other names are told at most, and so many spans on the critical path."""

_PARTS = (
    "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "input_audio_tokens", "output_audio_tokens",
)  # fmt: skip
_ERROR = pa.scalar("error", pa.string())


def detail_of(rows: pa.Table, shape: TraceShape, skew: Int64s) -> TraceDetail:
    """Tell of settled rows (columns of ``LIGHT`` but those of the arrival), their shape and their clocks' skew."""
    roots = np.flatnonzero((shape.parent < 0) & ~shape.orphan)
    speaker = int(roots[0]) if len(roots) else 0
    counted = np.asarray(whole(rows["counted"]).fill_null(False))
    parts = {name: int(whole(rows[name]).fill_null(0).to_numpy()[counted].sum()) for name in _PARTS}
    error = explaining_error(rows, shape)
    return TraceDetail(
        agents=_names(rows["agent"]),
        models=_names(rows["model"]),
        providers=_names(rows["provider"]),
        tools=_names(rows["tool"]),
        services=_names(rows["service"]),
        sessions=_names(rows["session_id"]),
        users=_names(rows["user_id"]),
        tags=_names(pc.list_flatten(rows["tags"])),
        environment=_said(rows["environment"], speaker),
        version=_said(rows["version"], speaker),
        **parts,
        input_preview=_said(rows["input_preview"], speaker),
        output_preview=_said(rows["output_preview"], speaker, last=True),
        error=None if error is None else _error(rows, shape, error),
        critical_path=_path(rows, *critical_path(rows, shape, skew)),
        roots=len(roots),
        depth=int(shape.depth.max()) + 1,
        missing_parents=_missing(rows, shape),
        clock_skew=_skewed(rows, skew),
    )


def explaining_error(rows: pa.Table, shape: TraceShape) -> int | None:
    """Return the row of the first error that explains the failure; None if no span has failed.

    Of the errors that no other lies below, those count that nobody got over by trying again; of these, those that
    came highest through spans that failed too; and of these the earliest, which the others followed from.
    """
    failed = np.asarray(pc.equal(whole(rows["status"]), _ERROR))
    if not failed.any():
        return None
    has_failed_child = np.zeros(len(failed), np.bool_)
    below = shape.parent[failed]
    has_failed_child[below[below >= 0]] = True
    origins = np.flatnonzero(failed & ~has_failed_child)
    height = shape.depth[shape.tops(failed)[origins]]
    mended = _mended(rows, shape, failed)[origins]
    return int(origins[np.lexsort((origins, height, mended))[0]])


def _mended(rows: pa.Table, shape: TraceShape, failed: Bools) -> Bools:
    """Mark the failed spans that were tried again with success, or whose failed ancestors were.

    A later span of the same name right below the same parent, which has not failed, is such a trial.
    """
    names = whole(rows["name"].combine_chunks()).dictionary_encode()
    task = shape.parent * len(names.dictionary) + names.indices.to_numpy()
    _, task = np.unique(task, return_inverse=True)
    last_success = np.full(len(task), -1, np.int64)
    succeeded = np.flatnonzero(~failed)
    last_success[task[succeeded]] = succeeded  # of several the last is written last
    mended: Bools = failed & (last_success[task] > np.arange(len(task)))
    jump = shape.above(failed)
    for _ in range(len(jump).bit_length()):
        mended = mended | mended[jump]
        jump = jump[jump]
    return mended


def _error(rows: pa.Table, shape: TraceShape, row: int) -> TraceError:
    failed = np.asarray(pc.equal(whole(rows["status"]), _ERROR))
    return TraceError(
        span_id=rows["span_id"][row].as_py(),
        name=rows["name"][row].as_py(),
        service=rows["service"][row].as_py(),
        type=rows["error_type"][row].as_py(),
        message=rows["status_message"][row].as_py(),
        reached_top=bool(shape.parent[shape.tops(failed)[row]] < 0),
    )


def _names(column: pa.ChunkedArray) -> tuple[str, ...]:
    if column.null_count == len(column):
        return ()
    return tuple(name for name in pc.unique(column).slice(0, MOST_NAMES + 1).to_pylist() if name is not None)[
        :MOST_NAMES
    ]


def _said(column: pa.ChunkedArray, speaker: int, *, last: bool = False) -> str | None:
    """The speaker's value, else that of the first span, or of the last, that has one."""
    if column.null_count == len(column):
        return None
    own: str | None = column[speaker].as_py()
    if own is None:
        valid = np.flatnonzero(np.asarray(whole(column).is_valid()))
        own = column[int(valid[-1 if last else 0])].as_py()
    return own


def _path(rows: pa.Table, path: Int64s, own: Int64s) -> tuple[PathStep, ...]:
    if len(path) > MOST_NAMES:
        longest = np.sort(np.argsort(-own, kind="stable")[:MOST_NAMES])
        path, own = path[longest], own[longest]
    taken = rows.select(["span_id", "name"]).take(pa.array(path))
    return tuple(map(PathStep, taken["span_id"].to_pylist(), taken["name"].to_pylist(), own.tolist()))


def _missing(rows: pa.Table, shape: TraceShape) -> tuple[MissingParent, ...]:
    if not shape.orphan.any():
        return ()
    named = rows["parent_span_id"].filter(pa.array(shape.orphan)).combine_chunks().dictionary_encode()
    counts = np.bincount(named.indices.to_numpy())
    return tuple(map(MissingParent, named.dictionary.to_pylist()[:MOST_NAMES], counts[:MOST_NAMES].tolist()))


def _skewed(rows: pa.Table, skew: Int64s) -> tuple[ServiceSkew, ...]:
    corrected = np.flatnonzero(skew)
    if len(corrected) == 0:
        return ()
    services = rows["service"].take(pa.array(corrected)).combine_chunks()
    encoded = services if pa.types.is_dictionary(services.type) else services.dictionary_encode()
    codes, names = encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()
    amounts = skew[corrected]
    found = [(name, amounts[codes == code]) for code, name in list(enumerate(names))[:MOST_NAMES]]
    return tuple(ServiceSkew(str(name), int(own[np.argmax(np.abs(own))]), len(own)) for name, own in found if len(own))
