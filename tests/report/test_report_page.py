"""The report page: well-formed, self-contained, deterministic, deaf to hostile names, and true to its input."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeq.errors import FormatError
from edgeq.grid import Function, Grid, quantize_weight
from edgeq.report import sections
from edgeq.report.page import Disagreement, LayerView, ReportInput, render_report
from edgeq.verify.report import LayerParity

VOID = {"meta", "br", "img", "link", "input", "hr"}
CLASSES = ("cat", "dog", "ship")
HOSTILE = "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}{% raw %}"


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order; collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in {tag}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> is SVG's way, not HTML's"
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def layer(
    name: str = "conv1", bits: int = 8, function: Function = "sine", shape: tuple[int, ...] = (8, 3, 3, 3)
) -> LayerView:
    grid = Grid(bits, function)
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    codes = quantize_weight(weight, grid).codes
    counts = np.bincount(codes.ravel().astype(int) + grid.qmax, minlength=2 * grid.qmax + 1)
    return LayerView(name, shape, bits, 0.01, 0.02, counts.astype(np.int64), np.arange(41, dtype=np.int64))


def manifest(name: str = "x") -> dict[str, Any]:
    return {
        "schema": 1,
        "edgeq": "0.1.0",
        "versions": {"torch": name},
        "recipe": {"model": name, "bits": 8},
        "seed": 0,
        "data": {"name": name, "train": 1437, "test": 360, "sha256": "ab"},
        "accuracy": {"float": 98.61, "snapped": 98.61, "onnx": 98.33, "tflite": 98.33, "samples": 360},
        "layers": [{"name": "conv1", "distance": 0.125}],
        "parity": {"max_code_difference": 1, "top1_agreement": 100.0, "samples": 360},
        "artifacts": [{"path": name, "bytes": 301234, "sha256": "cd"}],
        "stages": [{"name": name, "seconds": 1.5, "peak_rss_mb": 400.0}],
        "bench": [],
    }


def full(name: str = "x", classes: tuple[str, ...] = CLASSES, disagreements: int = 2) -> ReportInput:
    pixels = np.random.default_rng(1).integers(0, 256, (disagreements, 32, 32, 3), dtype=np.uint8)
    return ReportInput(
        manifest=manifest(name),
        history=[
            {"epoch": e, "loss": 1 / (e + 1), "test_accuracy": None if e else 50.0, "distance": 0.2} for e in range(4)
        ],
        layers=[layer(), layer(name, bits=4)],
        parity=[LayerParity(name, name, 1, 0, True), LayerParity("y", "SOFTMAX", None, 0, False, name)],
        classes=classes,
        confusion=np.eye(len(classes), dtype=np.int64) * 7,
        disagreements=[Disagreement(image, 0, 1, 2) for image in pixels],
        command=f"edgeq build {name}",
        recipe_toml=f"# {name}",
    )


EMPTY = ReportInput({})
PARTS: dict[str, dict[str, Any]] = {
    "history": {"history": [{"epoch": 0, "loss": float("nan")}, {"epoch": 1, "loss": 2.0}]},
    "layers": {"layers": [layer()]},
    "parity": {"parity": [LayerParity("a", "ADD", 0, 0, True)]},
    "confusion": {"classes": CLASSES, "confusion": np.ones((3, 3), np.int64)},
    "command": {"command": "edgeq build"},
    "recipe": {"recipe_toml": "bits = 8"},
}


@pytest.mark.parametrize("part", PARTS)
def test_a_page_of_one_part_has_that_section_only(part: str) -> None:
    page = Page(render_report(ReportInput({}, **PARTS[part])))
    assert page.tags.count("section") == 1


def test_an_empty_report_is_a_page_without_sections() -> None:
    assert Page(render_report(EMPTY)).tags.count("section") == 0


def test_every_link_goes_to_a_section_and_every_section_has_a_link() -> None:
    page = Page(render_report(full()))
    sections_there = [value for tag, name, value in page.attributes if (tag, name) == ("section", "id")]
    assert page.values("href") == [f"#{name}" for name in sections_there]
    assert len(sections_there) == page.tags.count("section") == 8


def test_nothing_comes_from_the_network_and_nothing_runs() -> None:
    text = render_report(full())
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert all(value.startswith("data:image/png;base64,") for value in page.values("src"))
    assert not re.search(r"https?:|url\(|@import|javascript:", text)


def test_hostile_names_stay_text() -> None:
    tame, hostile = Page(render_report(full())), Page(render_report(full(HOSTILE, ("cat", HOSTILE, "ship"))))
    assert hostile.tags == tame.tags
    assert [(tag, name) for tag, name, _ in hostile.attributes] == [(tag, name) for tag, name, _ in tame.attributes]
    # model, class (row, answers), layer (table, drawing), parity (name, operation, reason), file, stage, ...
    assert sum(text.count(HOSTILE) for text in hostile.text) >= 12


@pytest.mark.parametrize("name", ["\x00\x1b[31m", "caf\udce9", "a\u202eb", "\ufffe"])
def test_names_that_html_or_utf8_cannot_carry_are_replaced(name: str) -> None:
    text = render_report(full(name))
    assert "\N{REPLACEMENT CHARACTER}" in text
    assert not set(name) - set("[31mcafb") & set(text)
    Page(text.encode("utf-8").decode("utf-8"))


def test_equal_input_gives_equal_bytes() -> None:
    assert render_report(full()) == render_report(full())


def test_the_images_on_the_page_are_the_images() -> None:
    report = full(disagreements=3)
    uris = Page(render_report(report)).values("src")
    for uri, item in zip(uris, report.disagreements, strict=True):
        data = base64.b64decode(uri.split(",", 1)[1], validate=True)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), item.image)


def test_grey_and_large_images_are_drawn() -> None:
    images = [np.zeros((8, 8, 1), np.uint8), np.zeros((480, 640, 3), np.uint8)]
    items = [Disagreement(image, 0, 1, 2) for image in images]
    uris = Page(render_report(ReportInput({}, classes=CLASSES, disagreements=items))).values("src")
    sizes = [Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).size for uri in uris]
    assert sizes == [(8, 8), (96, 72)]


def test_at_most_24_images_are_shown_and_all_are_counted() -> None:
    page = Page(render_report(full(disagreements=40)))
    assert page.tags.count("img") == 24
    assert any("24 of 40" in text for text in page.text)


def test_confusion_counts_and_shares_are_those_of_the_matrix() -> None:
    matrix = np.array([[8, 2, 0], [0, 0, 0], [1, 1, 2]], np.int64)
    found = sections.confusion(ReportInput({}, classes=CLASSES, confusion=matrix))
    assert found is not None
    assert [[cell[0] for cell in cells] for _, cells, _ in found.rows] == matrix.tolist()
    assert [share for _, _, share in found.rows] == [80.0, None, 50.0]


def test_many_classes_give_the_pairs_most_often_confused() -> None:
    classes = [f"class {i}" for i in range(100)]
    matrix = np.eye(100, dtype=np.int64) * 50
    matrix[3, 97], matrix[60, 5] = 4, 9
    found = sections.confusion(ReportInput({}, classes=classes, confusion=matrix))
    assert found is not None
    assert found.pairs == (("class 60", "class 5", 9), ("class 3", "class 97", 4))
    assert Page(render_report(ReportInput({}, classes=classes, confusion=matrix))).tags.count("td") == 6


@pytest.mark.parametrize("function", ["sine", "cosine", "hat"])
@pytest.mark.parametrize("bits", range(2, 8))
def test_the_codes_of_a_grid_are_counted_as_the_grid_has_them(bits: int, function: Function) -> None:
    (row,) = sections.layer_rows([layer(bits=bits, function=function, shape=(64, 64, 3, 3))], manifest())
    assert row.available == (2**bits if function == "cosine" else 2**bits - 1)  # points of eq. (8) and of the cosine
    assert 0 < row.used <= row.available
    assert row.distance == 0.125
    assert row.codes is not None
    assert row.codes.total == row.weights == 64 * 64 * 9


@pytest.mark.parametrize(("after", "good"), [(98.61, True), (99.0, True), (98.31, True), (98.2, False), (10.0, False)])
def test_the_verdict_follows_the_accuracy_promise(after: float, good: bool) -> None:
    found = sections.verdict({"accuracy": {"float": 98.61, "tflite": after}})
    assert found is not None
    assert found.good is good


def test_no_verdict_without_both_accuracies() -> None:
    assert sections.verdict({"accuracy": {"float": 98.0}}) is None


def test_a_long_network_keeps_the_page_light() -> None:
    layers = [layer(f"layer{i}.conv", shape=(64, 64, 3, 3)) for i in range(57)]
    assert len(render_report(ReportInput({}, layers=layers))) < 400_000


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(FormatError, match="confusion matrix"):
        ReportInput({}, classes=CLASSES, confusion=np.eye(4, dtype=np.int64))
    with pytest.raises(FormatError, match="class without a name"):
        ReportInput({}, classes=CLASSES, disagreements=[Disagreement(np.zeros((2, 2, 3), np.uint8), 0, 1, 3)])
    with pytest.raises(FormatError, match="cannot draw"):
        Disagreement(np.zeros((3, 2, 2), np.uint8), 0, 1, 2)
    with pytest.raises(FormatError, match="-qmax to qmax"):
        LayerView("a", (2,), 8, 1.0, 1.0, np.zeros(4, np.int64), np.zeros(4, np.int64))
