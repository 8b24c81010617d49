"""Why a column holds what it holds: the rule, its version, and the attributes that gave the value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from agenttrace_core.normalise.attributes import Batch
from agenttrace_core.normalise.promote import Filled, promote
from agenttrace_core.normalise.rules import RULES, VERSION, Rule, Source
from agenttrace_core.normalise.totals import PARTS, with_parts

_RULES: Final = {rule.column: rule for rule in RULES}
_TOKENS: Final = ("input_tokens", "output_tokens")
_PRICED: Final = ("provider", "model", *_TOKENS, "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
                  "input_audio_tokens", "output_audio_tokens")  # fmt: skip

EXPLAINED: Final = (
    "operation", "provider", "model", "agent", "tool", "session_id", "user_id", *_TOKENS, "cache_read_tokens",
    "cache_write_tokens", "reasoning_tokens", "input_audio_tokens", "output_audio_tokens", "cost_usd", "given_cost_usd",
    "counted", "time_to_first_chunk_ns", "input_preview", "output_preview", "error_type", "error_group", "service",
    "environment", "version", "prompt", "prompt_version", "tags",
)  # fmt: skip
"""The columns that can be explained, in the order in which they are."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a column of a span holds ``value``.

    Attributes:
        column: its name.
        value: what it holds; None for nothing.
        rule: what gave it, such as ``model/gen_ai.response.model``; None where nothing did.
        version: of the rules.
        attributes: where it came from: names of attributes (``resource.`` before those of the resource, ``#`` and
            a path after those whose text is JSON), events and columns.
        note: what was done besides reading it.
    """

    column: str
    value: Any
    rule: str | None
    version: str
    attributes: tuple[str, ...]
    note: str | None = None


def explain(batch: Batch, columns: Mapping[str, pa.Array]) -> list[list[Reason]]:
    """Return the reasons for the canonical columns of each row of a batch, whose values are in ``columns``."""
    filled = promote(batch)
    _, lacking = with_parts(filled)
    return [_reasons(batch, filled, lacking, columns, row) for row in range(len(batch))]


def _reasons(
    batch: Batch, filled: Mapping[str, Filled], lacking: Mapping[str, Any], columns: Mapping[str, pa.Array], row: int
) -> list[Reason]:
    here = batch.spans.keys_of(row)
    out = []
    for column in EXPLAINED:
        value = columns[column][row].as_py()
        if value is None:
            out.append(Reason(column, None, None, VERSION, ()))
        elif column in _RULES and filled[column].source[row] >= 0:
            out.append(_present(_by_rule(filled, lacking, column, value, row), here))
        else:
            out.append(_computed(filled, columns, column, value, row))
    return out


def _present(reason: Reason, here: frozenset[str]) -> Reason:
    """Of attributes whose being there is what tells, name those that are there."""
    found = tuple(name for name in reason.attributes if name in here)
    return replace(reason, attributes=found) if "/give:" in (reason.rule or "") and found else reason


def _by_rule(filled: Mapping[str, Filled], lacking: Mapping[str, Any], column: str, value: Any, row: int) -> Reason:
    rule, source = _RULES[column], _source(filled, column, row)
    attributes, note = named(source), _note(source)
    if column in PARTS and lacking[column][row]:
        parts = [part for part in PARTS[column] if filled[part].source[row] >= 0]
        attributes += tuple(name for part in parts for name in named(_source(filled, part, row)))
        note = f"the sender leaves {' and '.join(parts)} out of it: added"
    return Reason(column, value, _id(rule, source), VERSION, attributes, note)


def _computed(
    filled: Mapping[str, Filled], columns: Mapping[str, pa.Array], column: str, value: Any, row: int
) -> Reason:
    """Explain what is not read from an attribute, but made of other columns or of events."""
    if column == "cost_usd":
        made_of = tuple(name for name in _PRICED if columns[name][row].as_py() is not None)
        return Reason(column, value, "prices", VERSION, made_of, "price of the model at the span's start")
    if column == "counted":
        made_of = tuple(name for name in (*_TOKENS, "given_cost_usd") if columns[name][row].as_py() is not None)
        if filled["uncounted"].source[row] >= 0:
            source = _source(filled, "uncounted", row)
            return Reason(column, value, _id(_RULES["uncounted"], source), VERSION, named(source), "told again below")
        note = "its tokens or cost count, unless spans below it have some" if value else "fetched again: counted before"
        return Reason(column, value, "counted", VERSION, made_of, note)
    name = "exception.type" if column == "error_type" else "exception.message"
    sources = (f"event:exception#{name}",) if column == "error_type" else (f"event:exception#{name}", "status.message")
    done = None if column == "error_type" else "what varies is taken out"
    return Reason(column, value, f"failures/{name}", VERSION, sources, done)


def _source(filled: Mapping[str, Filled], column: str, row: int) -> Source:
    return _RULES[column].sources[int(filled[column].source[row])]


def _id(rule: Rule, source: Source) -> str:
    return f"{rule.column}/{source.id}"


def named(source: Source) -> tuple[str, ...]:
    """Return the attributes that a source reads, as people write them; of one of its own value, those it asks about."""
    if source.kind in ("give", "field"):
        asked = source.when.keys if source.when is not None else ()
        own = (source.name,) if source.kind == "field" else ()
        return own + (asked or (() if source.when is None or source.when.column is None else (source.when.column,)))
    prefix = {"key": "", "resource": "resource.", "event": "event:", "said": "event:", "numbered": ""}[source.kind]
    path = f"#{'.'.join(source.path)}" if source.path else ""
    first = f"{prefix}{source.name}{path}" + (".*" if source.kind == "numbered" else "")
    more = () if source.path is not None or source.kind == "said" else source.add
    return (first, *more)


def _note(source: Source) -> str | None:
    if source.unit != "ns":
        return "a point in time: the span's start taken off" if source.unit == "time" else f"in {source.unit}"
    if source.kind == "event":
        return "time of the first such event, from the span's start"
    if source.values:
        return "translated"
    if source.pattern:
        return f"what matches {source.pattern}"
    return "summed" if source.add and source.kind != "said" else None
