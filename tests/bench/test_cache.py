from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from edgeq.bench.cache import cache_folder, cached, content_key
from edgeq.errors import EdgeqError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_is_made_once(own_cache: Path) -> None:
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "file").write_text("x")

    first = cached("kind", "key", make)
    assert cached("kind", "key", make) == first == own_cache / "kind" / "key"
    assert len(made) == 1
    assert [path.name for path in first.parent.iterdir()] == ["key"]


def test_what_fails_leaves_nothing(own_cache: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise EdgeqError("no")

    with pytest.raises(EdgeqError, match="no"):
        cached("kind", "key", make)
    assert list((own_cache / "kind").iterdir()) == []


def test_the_first_of_two_makers_wins() -> None:
    def slow(folder: Path) -> None:
        (folder / "who").write_text("slow")
        cached("kind", "key", lambda other: (other / "who").write_text("fast"))  # type: ignore[arg-type]

    folder = cached("kind", "key", slow)
    assert (folder / "who").read_text() == "fast"
    assert [path.name for path in folder.parent.iterdir()] == ["key"]


def test_what_a_killed_process_left_is_removed_and_nothing_that_lives(own_cache: Path) -> None:
    script = """
import os, signal
from edgeq.bench.cache import cached
def make(folder):
    (folder / "half").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
cached("kind", "killed", make)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    (left,) = (own_cache / "kind").iterdir()
    assert left.name.startswith(".killed-")

    def make(folder: Path) -> None:
        """Another folder of the kind is made while this one is."""
        assert not left.exists()
        cached("kind", "other", lambda other: None)
        (folder / "whole").touch()

    assert (cached("kind", "key", make) / "whole").exists()
    assert sorted(path.name for path in left.parent.iterdir()) == ["key", "other"]


def test_a_folder_that_is_taken_for_a_stale_one_is_made_again(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process looks just between the making of a temporary folder and its lock."""
    make_temporary = tempfile.mkdtemp
    lost: list[int] = []

    def mkdtemp(**options: Any) -> str:
        path: str = make_temporary(**options)
        if not lost:
            lost.append(os.open(path, os.O_RDONLY))
            fcntl.flock(lost[0], fcntl.LOCK_EX)
        return path

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    folder = cached("kind", "key", lambda folder: (folder / "file").touch())
    os.close(lost[0])
    assert (folder / "file").exists()
    assert cached("kind", "next", lambda folder: None)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["key", "next"]


def test_a_file_system_without_locks_will_do(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    (own_cache / "kind" / ".other-1").mkdir(parents=True)
    monkeypatch.setattr(fcntl, "flock", flock)
    assert cached("kind", "key", lambda folder: None).is_dir()
    assert (own_cache / "kind" / ".other-1").is_dir(), "it may be in use"


def test_a_cache_that_cannot_be_written(own_cache: Path) -> None:
    own_cache.write_text("a file where the folder should be")
    with pytest.raises(EdgeqError, match=r"cannot be written.*set EDGEQ_CACHE"):
        cached("kind", "key", lambda folder: None)


def test_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEQ_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/edgeq")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert cache_folder() == Path("/h/.cache/edgeq")


def test_keys_tell_parts_apart() -> None:
    assert content_key("a", "b") == content_key(b"a", "b") != content_key("ab") != content_key("a", "b", "")
