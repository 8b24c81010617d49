"""Pages of mapped files: given back, and still there."""

from __future__ import annotations

import gc
import mmap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from agenttrace_adapters.duckdb.mapped import let_go, mapped_table, shared_bytes

_BYTES = 32 << 20


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.arrow"
    table = pa.table({"n": pa.array(np.arange(_BYTES // 8))})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    return path


@pytest.mark.skipif(not shared_bytes() or not hasattr(mmap, "MADV_DONTNEED"), reason="the system does not tell")
def test_what_was_read_is_not_counted_as_memory_any_more_and_can_be_read_again(path: Path) -> None:
    """Lost otherwise: a query process whose memory grows with the folder, and is ended for that."""
    numbers = mapped_table(path)["n"].chunk(0).to_numpy()
    total = int(numbers.sum())
    read = shared_bytes()
    let_go(0)
    assert shared_bytes() < read - _BYTES // 2
    assert int(numbers.sum()) == total


def test_few_pages_are_kept(path: Path) -> None:
    """Lost otherwise: a look-up that pays for pages which the one before had read."""
    numbers = mapped_table(path)["n"].chunk(0).to_numpy()
    numbers.sum()
    read = shared_bytes()
    let_go(1 << 40)
    assert shared_bytes() > read - _BYTES // 2


def test_a_table_outlives_whoever_opened_it(path: Path) -> None:
    """Lost otherwise: the process, by reading what is mapped no longer."""
    numbers = mapped_table(path)["n"]
    path.unlink()
    gc.collect()
    let_go(0)
    assert numbers[-1].as_py() == _BYTES // 8 - 1


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    """Lost otherwise: the message about a damaged file, for a 500."""
    (tmp_path / "empty").touch()
    with pytest.raises(pa.ArrowInvalid):
        mapped_table(tmp_path / "empty")
