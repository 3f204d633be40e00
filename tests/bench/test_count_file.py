"""The plugin's file is read strictly: cut off or altered it is refused, never half read."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from edgeq.bench.count_file import read_counts
from edgeq.bench.profile import Block, Region
from edgeq.errors import EdgeqError, FormatError

LINES = [
    "edgeq-count 1 aarch64 2",
    "image /lib/with a space.so",
    "block 5500000680 0 0 1664 c0035fd6",
    "block 5500000600 0 -1 -1 1f2003d5c0035fd6",
    "region 9 1 1",
    "0 5",
    "region 3 2 2",
    "0 7",
    "1 18446744073709551615",
    "end",
]


def written(folder: Path, lines: list[str]) -> Path:
    path = folder / "counts"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_regions_by_index_and_blocks_by_address(tmp_path: Path) -> None:
    near = Block(0x5500000600, bytes.fromhex("1f2003d5c0035fd6"), "a64", 2**64 - 1)
    far = Block(0x5500000680, bytes.fromhex("c0035fd6"), "a64", 7, "/lib/with a space.so", 1664)
    last = Block(0x5500000680, bytes.fromhex("c0035fd6"), "a64", 5, "/lib/with a space.so", 1664)
    expected = (Region(3, 2, (near, far)), Region(9, 1, (last,)))
    assert read_counts(written(tmp_path, LINES), "aarch64") == (2, expected)


@pytest.mark.parametrize("kept", range(len(LINES)))
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    with pytest.raises(FormatError):
        read_counts(written(tmp_path, LINES[:kept]), "aarch64")


@pytest.mark.parametrize(
    ("number", "line", "message"),
    [
        (0, "edgeq-count 2 aarch64 1", "no counts of this version"),
        (0, "edgeq-count 1 arm 1", "no counts of this version"),
        (2, "block 5500000680 0 1 1664 c0035fd6", "a file that is not listed"),
        (2, "block 5500000680 0 0 1664 c0035f", "no file of counts"),
        (4, "region 9 1 4000000000", "no file of counts"),
        (5, "2 5", "not listed"),
        (8, "0 7", "listed twice"),
        (9, "fault a region has no end", "a region has no end"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, number: int, line: str, message: str) -> None:
    with pytest.raises(EdgeqError, match=message):
        read_counts(written(tmp_path, [*LINES[:number], line, *LINES[number + 1 :]]), "aarch64")


def test_what_follows_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="go on after their end"):
        read_counts(written(tmp_path, [*LINES, "end"]), "aarch64")


def test_no_change_of_bytes_is_a_traceback(tmp_path: Path) -> None:
    source = random.Random(1)
    whole = written(tmp_path, LINES).read_bytes()
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(source.randint(1, 4)):
            data[source.randrange(len(data))] = source.randrange(256)
        (tmp_path / "counts").write_bytes(data)
        with contextlib.suppress(EdgeqError):
            read_counts(tmp_path / "counts", "aarch64")
