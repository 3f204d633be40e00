"""The page in a browser, as wide as a phone, a tablet and a desk, light and dark: nothing overflows, is cut, overlaps;
text has contrast; nothing is fetched; the zoom works from the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from needs import needs_chromium
from report_samples import crowded, full

from edgeq.bench.roofline import Roofline, RooflinePoint, draw_roofline
from edgeq.report.page import render_report

pytestmark = needs_chromium

WIDTHS = (360, 390, 768, 1280)
CHECKS = (Path(__file__).parent / "page_checks.js").read_text(encoding="utf-8")
HOSTILE = "<script>document.title = 'run'</script>"

OPEN_ALL = "for (const part of document.querySelectorAll('details')) part.open = true"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of few things with a hostile name, and large ones: as a table and as a picture of classes."""
    points = tuple(RooflinePoint(f"CONV_2D {i} <&>", 10.0**i / 50, 10.0 ** (7 + i), 0.2, 0.1) for i in range(4))
    title = "tflite-runtime 2.14 with gemmlowp and ruy on one cortex-a7 core"
    drawing = draw_roofline(Roofline(title, 2.4e10, 1.2e9, points), titled=False)
    folder = tmp_path_factory.mktemp("pages")
    reports = {
        "hostile": full(HOSTILE, ("cat", HOSTILE, "ship")),
        "table": crowded(10, drawing),
        "picture": crowded(100),
    }
    for name, report in reports.items():
        (folder / f"{name}.html").write_text(render_report(report), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in reports}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["hostile", "table", "picture"])
def test_nothing_overflows_is_clipped_or_overlaps(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    browser.open(pages[name], width=width, theme="light")
    browser.evaluate(CHECKS)
    browser.evaluate(OPEN_ALL)
    assert browser.evaluate("overflow()") == []
    assert browser.evaluate("overlap()") == []
    assert browser.evaluate("contrast()") == []
    browser.show(width=width, theme="dark")
    assert browser.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert browser.evaluate("contrast()") == []
    assert browser.complaints == []
    assert browser.requests == []


@pytest.mark.parametrize("name", ["hostile", "picture"])
def test_everything_has_a_name_and_headings_are_in_order(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], width=1280, theme="light")
    browser.evaluate(CHECKS)
    assert browser.evaluate("names()") == []


FAULTS = {
    "overflow()": "document.querySelector('h1').style = 'white-space: nowrap; width: 2rem'",
    "overlap()": "document.querySelector('.tile strong').style.marginTop = '-1rem'",
    "contrast()": "document.body.style.color = '#888'",
    "names()": "document.querySelector('img').alt = ''",
}


@pytest.mark.parametrize("check", FAULTS)
def test_each_check_sees_its_fault(browser: Browser, pages: dict[str, Path], check: str) -> None:
    browser.open(pages["hostile"], width=768, theme="light")
    browser.evaluate(CHECKS)
    assert browser.evaluate(check) == []
    browser.evaluate(FAULTS[check])
    assert browser.evaluate(check) != []


def test_a_class_that_is_a_script_is_text(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["hostile"], width=1280, theme="light")
    assert browser.evaluate("document.title").endswith("edgeq report")
    assert browser.evaluate("document.scripts.length") == 1
    assert HOSTILE in browser.evaluate("document.querySelector('#confusion').textContent")


def test_the_policy_lets_no_other_script_and_no_request_through(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["hostile"], width=1280, theme="light")
    browser.evaluate(
        "const added = document.createElement('script'); added.textContent = 'window.ran = true';"
        "document.body.append(added); new Image().src = 'https://example.invalid/a.png'"
    )
    assert browser.evaluate("window.ran") is None
    assert any("Content Security Policy" in line for line in browser.complaints)


@pytest.mark.parametrize("width", [360, 1280])
def test_a_drawing_fills_the_screen_and_escape_closes_it(browser: Browser, pages: dict[str, Path], width: int) -> None:
    browser.open(pages["table"], width=width, theme="dark")
    browser.evaluate("document.querySelector('#training button.zoom').focus(); document.activeElement.click()")
    assert browser.evaluate("document.querySelector('dialog').open")
    assert browser.evaluate("document.querySelector('dialog h3').textContent") == "Training loss"
    assert browser.evaluate("document.querySelector('dialog svg').clientWidth") > 0.75 * min(width, 1200)
    assert browser.evaluate(
        "document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth"
    )
    browser.press("Escape")
    assert not browser.evaluate("document.querySelector('dialog').open")
    assert browser.evaluate("document.activeElement.getAttribute('aria-label')") == "Enlarge Training loss"
    gone = "(done) => document.querySelector('dialog figure') ? setTimeout(wait, 5, done) : done(true)"
    assert browser.evaluate(f"var wait = {gone}; new Promise(wait)")  # the close event comes later


def test_without_scripts_all_is_there_but_the_zoom(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["hostile"], width=1280, theme="light")
    words = "[...document.querySelectorAll('main')].map((part) => part.innerText).join()"
    there = browser.evaluate(words).replace("⤢", "").split()
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["hostile"], width=1280, theme="light")
        assert browser.evaluate("document.querySelectorAll('button').length") == 0
        assert browser.evaluate(words).split() == there
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_print_shows_what_is_folded_and_nothing_to_press(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["table"], width=1280, theme="dark")
    browser.show(width=794, theme="dark", media="print")
    visible = "[...document.querySelectorAll('{}')].filter((element) => element.checkVisibility()).length"
    assert browser.evaluate(visible.format("button, nav, summary")) == 0
    assert browser.evaluate(visible.format("#parity tbody tr")) == 180
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_large_page_is_of_reasonable_size(pages: dict[str, Path]) -> None:
    assert all(path.stat().st_size < 1_500_000 for path in pages.values())
