"""The programs in the documentation run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.docs.pages import PAGES, blocks, name_of

WITH_PROGRAMS = [page for page in PAGES if any(block.runs for block in blocks(page, "python"))]


@pytest.mark.parametrize("page", WITH_PROGRAMS, ids=name_of)
def test_the_programs_of_a_page_run_one_after_the_other(page: Path, tmp_path: Path) -> None:
    """A newcomer copies the example first; if it fails, nothing else on the page is believed."""
    program = "\n".join(_at_its_line(block.line, block.code) for block in blocks(page, "python") if block.runs)
    script = tmp_path / f"{page.stem}.py"
    script.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{name_of(page)}:\n{done.stderr}"


def test_the_core_is_embedded_in_a_documented_example() -> None:
    """Embedding is one of the four uses that the project promises; without its page, the test above runs nothing."""
    assert "docs/embedding.md" in map(name_of, WITH_PROGRAMS)


def _at_its_line(line: int, code: str) -> str:
    return f"# line {line} of the page\n{code}"
