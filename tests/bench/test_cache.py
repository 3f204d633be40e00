from __future__ import annotations

from pathlib import Path

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
