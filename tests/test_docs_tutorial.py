"""The tutorial, followed line by line in an empty folder: it gives the lines that its pages show, other figures apart.

The network is a small one instead of a ResNet-20, and an epoch is enough: names and figures are masked.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended
from docs_pages import PAGES, ROOT, blocks, check_manifest, commands
from needs import needs_downloads

DIGITS, PHOTOS, BOARD = (f"docs/tutorial/{name}.md" for name in ("digits", "photos", "board"))
# A command without output is followed where a later one needs what it leaves.
TRIED = [shown for shown in commands() if shown.output or shown.line.startswith("python ")]

CHEAPER = {
    "build": ["--epochs", "1", "--model", "lenet5"],
    "verify": ["--reference-samples", "8"],
}
SAME_AS = {"make demo": ".venv/bin/edgeq build --bits 8 --target cortex-a75 --out out/demo"}


def masked(line: str) -> str:
    """The first cell of a line, figures and the names of networks left out."""
    cell = re.split(r"\s{2,}", line.strip())[0]
    cell = re.sub(r"(resnet20|lenet5) on", "NET on", cell)
    return re.sub(r"[\d.,]*\d", "#", cell)


def assert_shown(wanted: tuple[str, ...], found: str) -> None:
    """Each line shown is there, in this order and without others between, but where the page has three dots."""
    lines = [masked(line) for line in found.splitlines() if line.strip()]
    place, free = 0, False
    for line in filter(str.strip, wanted):
        if line == "...":
            free = True
            continue
        rest = lines[place:] if free else lines[place : place + 1]
        assert masked(line) in rest, f"{line!r} is not there; there is: {rest}"
        place, free = lines.index(masked(line), place) + 1, False
    assert free or place == len(lines), f"more came: {lines[place:]}"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder, where the pages' lines are followed one after the other."""
    return tmp_path_factory.mktemp("desk")


def follow(page: str, desk: Path, edgeq: Callable[..., Ended]) -> None:
    programs = blocks(ROOT / page, "python")
    for shown in (shown for shown in TRIED if shown.page == page):
        line = SAME_AS.get(shown.line, shown.line)
        program, *arguments = shlex.split(line)
        if program == "python":
            (desk / arguments[0]).write_text(programs.pop(0))
            done = subprocess.run([sys.executable, *arguments], cwd=desk, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            found = done.stdout
        else:
            assert program.endswith("edgeq"), line
            ended = edgeq(*arguments, *CHEAPER.get(arguments[0], []))
            assert ended.code == 0, ended.err
            found = f"{ended.err}\n{ended.out}"
        assert_shown(shown.output, found)


def test_make_demo_is_the_line_that_the_page_gives_for_it() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = re.findall(r"^demo:.*\n\t\$\(BIN\)/(.*)", makefile, re.MULTILINE)
    assert SAME_AS["make demo"] == f".venv/bin/{line}"
    assert SAME_AS["make demo"] in [shown.line for shown in commands() if shown.page == DIGITS]


@pytest.mark.parametrize("page", [DIGITS, PHOTOS])
def test_the_tutorial_gives_what_it_shows(
    page: str, desk: Path, edgeq: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    follow(page, desk, edgeq)


@needs_downloads
def test_the_board_page_gives_what_it_shows(
    desk: Path, edgeq: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    if not (desk / "out" / "photos").is_dir():
        follow(PHOTOS, desk, edgeq)
    follow(BOARD, desk, edgeq)
    manifest = json.loads((desk / "out" / "photos" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["bench"]
    check_manifest(manifest)


def test_no_page_of_the_tutorial_is_left_out() -> None:
    assert {str(path.relative_to(ROOT)) for path in PAGES if path.parent.name == "tutorial"} == {DIGITS, PHOTOS, BOARD}
