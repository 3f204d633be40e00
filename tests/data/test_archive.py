from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_sets import TarMode, image_bytes, small_set, write_tar, write_zip

from edgeq.data import load_data, load_images
from edgeq.errors import DataError

MODES: tuple[TarMode, ...] = ("w", "w:gz", "w:bz2", "w:xz")


def tar_with(path: Path, **fields: object) -> str:
    """A good set and one odd member."""
    write_tar(path, small_set(), "w")
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("train/cat/odd.png")
        for key, value in fields.items():
            setattr(info, key, value)
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    return str(path)


@pytest.mark.parametrize("name", ["/etc/passwd.png", "../up.png", "train/../../up.png", "C:/x.png"])
def test_a_member_that_leaves_the_archive_is_named(tmp_path: Path, name: str) -> None:
    files = small_set() | {name: image_bytes(0)}
    for path in (write_zip(tmp_path / "set.zip", files), write_tar(tmp_path / "set.tar", files, "w")):
        with pytest.raises(DataError, match=r"absolute|leaves the archive") as caught:
            load_data(path)
        assert name in str(caught.value)
    assert not list(tmp_path.parent.glob("up.png"))


def test_backslashes_in_a_zip_are_separators(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leaves the archive"):
        load_data(write_zip(tmp_path / "set.zip", small_set() | {"train\\..\\..\\up.png": b""}))


@pytest.mark.parametrize(
    ("kind", "word"),
    [(tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "link"), (tarfile.CHRTYPE, "device"), (tarfile.FIFOTYPE, "device")],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes, word: str) -> None:
    with pytest.raises(DataError, match=rf"a member is a {word}.*train/cat/odd\.png"):
        load_data(tar_with(tmp_path / "set.tar", type=kind, linkname="/etc/passwd"))


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    write_zip(path, small_set())
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("train/cat/odd.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match=r"no plain file.*odd\.png"):
        load_data(str(path))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_tar_is_told_as_such(tmp_path: Path, mode: TarMode, share: float) -> None:
    path = tmp_path / "set.tar"
    files = {
        f"{split}/{name}/{i}.png": image_bytes(i) for split in ("train", "test") for name in "ab" for i in range(9)
    }
    write_tar(path, files, mode)
    content = path.read_bytes()
    whole = len(content.rstrip(b"\0") if mode == "w" else content)  # a plain tar ends with much padding
    path.write_bytes(content[: int(share * whole)])
    with pytest.raises(DataError, match=r"set\.tar.*truncated"):
        load_data(str(path))


def test_a_tar_cut_between_two_members_is_told_as_truncated(tmp_path: Path) -> None:
    path = tmp_path / "set.tar"
    write_tar(path, {f"a/{i}.png": b"x" * 512 for i in range(4)}, "w")
    path.write_bytes(path.read_bytes()[: 3 * 1024])  # each member is a header and one block
    with pytest.raises(DataError, match=r"after a/2\.png: .*truncated"):
        load_images(str(path), unreadable="skip")


def test_a_changed_byte_in_an_xz_is_told_as_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "set.tar.xz"
    write_tar(path, small_set())
    content = bytearray(path.read_bytes())
    content[-40] ^= 1  # in the index, behind all members
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated or corrupt"):
        load_data(str(path))


def test_an_xz_of_two_streams_is_read_whole(tmp_path: Path) -> None:
    plain, packed = tmp_path / "set.tar", tmp_path / "set.tar.xz"
    write_tar(plain, small_set(), "w")
    content = plain.read_bytes()
    packed.write_bytes(lzma.compress(content[:700]) + bytes(8) + lzma.compress(content[700:]))
    assert load_data(str(packed)).sha256 == load_data(str(plain)).sha256


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_truncated_zip_is_told_as_such(tmp_path: Path, share: float) -> None:
    path = tmp_path / "set.zip"
    write_zip(path, small_set())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=r"set\.zip.*truncated"):
        load_data(str(path))


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    write_zip(path, small_set())
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    path.write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        load_data(str(path))


def test_a_zip_that_declares_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    write_zip(path, small_set())
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02") + 24
    content[start : start + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match="size is false"):
        load_data(str(path))


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_bomb_is_not_unpacked(tmp_path: Path, write: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(write)
    monkeypatch.setattr("edgeq.data.zip_archive.MAX_MEMBER_BYTES", 1 << 16)
    monkeypatch.setattr("edgeq.data.tar_archive.MAX_MEMBER_BYTES", 1 << 16)
    path = write(tmp_path / "bomb", {"train/cat/zeros.png": bytes(1 << 20)})
    with pytest.raises(DataError, match=r"zeros\.png.*too large"):
        load_data(path, unreadable="skip")


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_all_members_together_are_bounded(tmp_path: Path, write: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(write)
    monkeypatch.setattr("edgeq.data.zip_archive.MAX_TOTAL_BYTES", 1 << 19)
    monkeypatch.setattr("edgeq.data.tar_archive.MAX_TOTAL_BYTES", 1 << 19)
    path = write(tmp_path / "bomb", {f"train/cat/{i}.txt": bytes(1 << 16) for i in range(32)})
    with pytest.raises(DataError, match="too large when unpacked"):
        load_data(path)


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_members_are_counted(tmp_path: Path, write: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(write)
    monkeypatch.setattr("edgeq.data.zip_archive.MAX_MEMBERS", 3)
    monkeypatch.setattr("edgeq.data.tar_archive.MAX_MEMBERS", 3)
    with pytest.raises(DataError, match="too many members"):
        load_data(write(tmp_path / "set", small_set()))


def test_a_long_name_header_takes_no_more_than_its_limit(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    path = tmp_path / "set.tar.xz"
    path.write_bytes(lzma.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 23), preset=0))
    with pytest.raises(DataError, match="header is too large"):
        load_data(str(path))


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused(tmp_path: Path, write: object) -> None:
    assert callable(write)
    with pytest.raises(DataError, match=r"twice.*cat/a\.png"):
        load_data(write(tmp_path / "set", small_set() | {"./train/cat/a.png": image_bytes(7)}))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_archives_raise_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    mode = data.draw(st.sampled_from(["zip", *MODES]))
    path = tmp_path / "set"
    if mode == "zip":
        write_zip(path, small_set())
    else:
        write_tar(path, small_set(), next(known for known in MODES if known == mode))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(DataError):
        load_data(str(path), unreadable="skip")
