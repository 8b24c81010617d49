"""All recorded dialects. If these fail, spans that say what they are, and what they cost, are shown as blanks."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import zstandard

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.wire.check import check_traces
from agenttrace_core.wire.json_read import traces_from_json
from tests.unit.normalise.coverage import counts_of, decoded, text_of

GUARDED: dict[str, Any] = tomllib.loads((Path(__file__).parent / "coverage.toml").read_text())


@pytest.mark.parametrize("file", GUARDED)
def test_no_fewer_spans_than_before_got_what_they_say(
    file: str, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = counts_of(corpora / "dev" / f"{file}.otlp.jsonl.zst")
    with capsys.disabled():
        print("\n" + text_of({file: found}))
    fewer = [
        f"{kind}.{column}: {found.get(kind, {}).get(column, 0)} < {least}"
        for kind, counts in GUARDED[file].items()
        for column, least in counts.items()
        if found.get(kind, {}).get(column, 0) < least
    ]
    assert fewer == []


def test_spans_that_broke_others_become_rows_without_a_loss(corpora: Path) -> None:
    """Other vendors' cases and odd exports: what the door lets in has a row a span, whatever its attributes are."""
    seen = 0
    for path in sorted([*(corpora / "zoo").glob("dev*.zst"), *(corpora / "oddities").glob("*.zst")]):
        text = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj().decompress(path.read_bytes())
        for line in text.splitlines():
            given = json.loads(line)
            try:
                checked = check_traces(traces_from_json(json.dumps(given.get("request", given)).encode()).body)
            except InvalidInputError:
                continue
            if checked.accepted:
                rows = decoded([checked.body])
                assert len(rows) == checked.accepted
                rows.validate(full=True)
                seen += len(rows)
    assert seen > 200
