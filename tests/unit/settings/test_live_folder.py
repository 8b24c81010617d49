"""Where the live table lies. If these fail, parts of one server look for it in different places, or a stranger's."""

from __future__ import annotations

from pathlib import Path

from agenttrace_server.live_folder import live_folder, remove_live_folder


def test_two_data_folders_never_share_one(tmp_path: Path) -> None:
    places = {live_folder(tmp_path / name, needed_bytes=1, shared=tmp_path) for name in ("a", "b", "a")}
    assert len(places) == 2
    assert all(place.parent == tmp_path and place.stat().st_mode & 0o777 == 0o700 for place in places)


def test_too_little_memory_means_the_data_folder(tmp_path: Path) -> None:
    assert live_folder(tmp_path / "d", needed_bytes=2**62, shared=tmp_path) == tmp_path / "d" / "live"
    assert live_folder(tmp_path / "d", needed_bytes=1, shared=tmp_path / "none") == tmp_path / "d" / "live"


def test_a_folder_that_others_may_enter_is_not_trusted(tmp_path: Path) -> None:
    live_folder(tmp_path / "d", needed_bytes=1, shared=tmp_path).chmod(0o755)
    assert live_folder(tmp_path / "d", needed_bytes=1, shared=tmp_path) == tmp_path / "d" / "live"


def test_removed_is_what_this_folder_had_there_and_nothing_else(tmp_path: Path) -> None:
    """Each folder that was ever served would take memory until the machine starts again."""
    own, other = (live_folder(tmp_path / name, needed_bytes=1, shared=tmp_path) for name in ("a", "b"))
    (own / "epoch-1").mkdir()
    remove_live_folder(tmp_path / "a", needed_bytes=1, shared=tmp_path)
    assert not own.exists()
    assert other.exists()
