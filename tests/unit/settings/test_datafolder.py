"""The data folder: one owner, and a format that only the right releases touch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agenttrace_core.errors import ConfigurationError
from agenttrace_server import datafolder


def test_a_second_owner_is_refused_by_folder_and_pid(tmp_path: Path) -> None:
    """Lost: two servers write into one folder."""
    with datafolder.folder_lock(tmp_path) as lock:
        lock.acquire()
        with pytest.raises(ConfigurationError, match=rf"{tmp_path} is in use by process {os.getpid()}"):
            datafolder.folder_lock(tmp_path).acquire()
    datafolder.folder_lock(tmp_path).acquire()


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    """Lost: after kill -9 somebody has to delete a lock file by hand."""
    program = (
        "import os, signal, sys, pathlib\n"
        "from agenttrace_server import datafolder\n"
        "datafolder.folder_lock(pathlib.Path(sys.argv[1])).acquire()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path], check=False).returncode == -9
    datafolder.folder_lock(tmp_path).acquire()


def test_an_older_folder_is_taken_over_and_a_newer_one_refused(tmp_path: Path) -> None:
    """Lost: an older release ruins what a newer one wrote."""
    for older in (0, datafolder.FORMAT):
        datafolder.write_json(tmp_path / "format.json", {"format": older})
        datafolder.check(tmp_path)
        datafolder.mark(tmp_path)
        assert datafolder.read_format(tmp_path) == datafolder.FORMAT

    datafolder.write_json(tmp_path / "format.json", {"format": datafolder.FORMAT + 1})
    with pytest.raises(ConfigurationError, match=f"format {datafolder.FORMAT + 1}.*newer release"):
        datafolder.check(tmp_path)


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    """Lost: ``--data ~`` strews a database over a home folder."""
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigurationError, match=r"thesis\.tex"):
        datafolder.check(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_new_folder_is_its_owners_alone(tmp_path: Path) -> None:
    """Lost: every user of the machine reads what agents were told; or a folder shared on purpose is closed."""
    datafolder.check(tmp_path / "a" / "data")
    assert (tmp_path / "a" / "data").stat().st_mode & 0o777 == 0o700
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o750)
    datafolder.check(shared)
    assert shared.stat().st_mode & 0o777 == 0o750


def test_a_damaged_format_is_told(tmp_path: Path) -> None:
    """Lost: a torn file is taken for an empty folder and written over."""
    (tmp_path / "format.json").write_text('{"form')
    with pytest.raises(ConfigurationError, match="damaged"):
        datafolder.check(tmp_path)


def test_endpoints_come_back_as_written_and_can_be_forgotten(tmp_path: Path) -> None:
    """Lost: commands find no server, or one that is gone."""
    endpoints = datafolder.Endpoints("http://127.0.0.1:1", "http://127.0.0.1:2", "127.0.0.1:3")
    datafolder.write_endpoints(tmp_path, endpoints)
    assert datafolder.read_endpoints(tmp_path) == endpoints
    datafolder.forget_endpoints(tmp_path)
    datafolder.forget_endpoints(tmp_path)
    assert datafolder.read_endpoints(tmp_path) is None
