"""The report page: well-formed, self-contained, deterministic, deaf to hostile names, and true to its input."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_samples import CLASSES, ESTIMATE, disagreement, full, history, layer, manifest

from edgeq.errors import FormatError
from edgeq.grid import Function
from edgeq.report import sections, thumbnails, timing
from edgeq.report.compression import compression_rows
from edgeq.report.confusion import confusion
from edgeq.report.content import BenchedLane, Details, LayerView, OperationTime, ReportInput
from edgeq.report.layers import layer_rows
from edgeq.report.page import render_report
from edgeq.report.training import training_charts
from edgeq.verify.report import LayerParity

VOID = {"meta", "br", "img", "link", "input", "hr", "wbr"}
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
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


EMPTY = ReportInput({})
PARTS: dict[str, dict[str, Any]] = {
    "history": {"details": Details(history=({"epoch": 0.0}, {"epoch": 1.0, "loss": 2.0}))},
    "layers": {"layers": [layer()]},
    "parity": {"parity": [LayerParity("a", "ADD", 0, 0, True)]},
    "confusion": {"classes": CLASSES, "details": Details(confusion=((0, 1, 3),))},
    "disagreements": {"details": Details(disagreements={"float": 0, "int8": 0, "neither": 0})},
    "bench": {"bench": [BenchedLane("a core", "", (OperationTime("ADD", "a", 0, 1, 1.0, None),))]},
    "command": {"details": Details(command="edgeq build")},
    "recipe": {"recipe_toml": "bits = 8"},
}


@pytest.mark.parametrize("part", PARTS)
def test_a_page_of_one_part_has_that_section_only(part: str) -> None:
    page = Page(render_report(ReportInput({}, **PARTS[part])))
    assert page.tags.count("section") == 1


def test_a_compression_is_told_with_what_was_chosen_and_what_it_left() -> None:
    first, second = compression_rows(manifest("prune"))
    assert (first.method, first.options, first.accuracy) == ("prune", "round 1 of 2, sparsity=0.5", None)
    assert (second.options, second.parameters, second.zeros, second.accuracy) == (
        *("round 2 of 2, sparsity=0.5", 1200, 0.25, 97.5),
    )
    budget = {"recipe": {"compress": [{"method": "low-rank", "macs": 0.5}]}}
    entry = {"method": "low-rank", "macs": 34_000, "epochs": 0, "round": 0, "parameters": 9}
    (row,) = compression_rows(budget | {"compress": [entry]})
    assert (row.options, row.macs) == ("macs=0.5", 34_000)
    text = " ".join(Page(render_report(full())).text)
    assert "25.0 %" in text
    assert "97.50 %" in text


def test_an_empty_report_is_a_page_without_sections() -> None:
    assert Page(render_report(EMPTY)).tags.count("section") == 0


def test_every_link_goes_to_a_section_and_every_section_has_a_link() -> None:
    page = Page(render_report(full()))
    sections_there = [value for tag, name, value in page.attributes if (tag, name) == ("section", "id")]
    assert page.values("href") == [f"#{name}" for name in sections_there]
    assert len(sections_there) == page.tags.count("section") == 10


def test_nothing_comes_from_the_network_and_only_the_zoom_runs() -> None:
    text = render_report(full())
    page = Page(text)
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert page.tags.count("script") == 1
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'" in text
    assert all(value.startswith("data:image/png;base64,") for value in page.values("src"))
    assert not re.search(r"https?:|url\(|@import|javascript:| on[a-z]+=", text)


def test_hostile_names_stay_text() -> None:
    tame, hostile = Page(render_report(full())), Page(render_report(full(HOSTILE, ("cat", HOSTILE, "ship"))))
    hostile_tags, tame_tags = ([tag for tag in page.tags if tag != "wbr"] for page in (hostile, tame))
    assert hostile_tags == tame_tags, "but for where a name may be broken"
    assert [(tag, name) for tag, name, _ in hostile.attributes] == [(tag, name) for tag, name, _ in tame.attributes]
    # model, class (row, answers), layer (table, drawing), parity (name, operation, reason), file, stage, ...
    assert sum(text.count(HOSTILE) for text in hostile.text) >= 18


@pytest.mark.parametrize("name", ["\x00\x1b[31m", "caf\udce9", "a\u202eb", "\ufffe"])
def test_names_that_html_or_utf8_cannot_carry_are_replaced(name: str) -> None:
    text = render_report(full(name))
    assert "\N{REPLACEMENT CHARACTER}" in text
    assert not set(name) - set("[31mcafb") & set(text)
    Page(text.encode("utf-8").decode("utf-8"))


def test_a_name_breaks_after_its_dots_and_stays_text() -> None:
    text = render_report(ReportInput({}, layers=[layer("a.b_c.<i>.")]))
    assert "<h3>a.<wbr>b_<wbr>c.<wbr>&lt;i&gt;.</h3>" in text


def test_equal_input_gives_equal_bytes() -> None:
    assert render_report(full()) == render_report(full())


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1], validate=True)))


def test_the_images_on_the_page_are_the_images() -> None:
    report = full(disagreements=3)
    uris = Page(render_report(report)).values("src")
    assert uris == [item.image for item in report.details.shown]
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(decoded(uris[0])), pixels)


def test_grey_and_large_images_are_drawn_and_stay_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    uris = [thumbnails.thumbnail_uri(image) for image in (np.zeros((8, 8, 1), np.uint8), noise)]
    assert [decoded(uri).size for uri in uris] == [(8, 8), (96, 72)]
    assert [decoded(uri).format for uri in uris] == ["PNG", "JPEG"]
    assert len(uris[1]) < 20_000


@pytest.mark.parametrize(
    "uri", ["", "https://example.org/a.png", "data:image/svg+xml;base64,AA==", "data:image/png;base64,A" * 9999]
)
def test_what_is_no_small_picture_is_refused(uri: str) -> None:
    with pytest.raises(FormatError, match="data URI of a small picture"):
        dataclasses.replace(disagreement(), image=uri)


def test_all_disagreements_are_counted_where_a_part_is_shown() -> None:
    report = full()
    details = dataclasses.replace(report.details, disagreements={"float": 1200, "int8": 30, "neither": 4})
    page = Page(render_report(dataclasses.replace(report, details=details)))
    words = " ".join(page.text)
    assert (
        "1,234 images into different classes: 1,200 where float is right, 30 where int8 is, 4 where neither is" in words
    )
    assert "The 2 that float was surest of" in words
    assert page.tags.count("img") == 2


def test_confusion_counts_and_shares_are_those_of_the_matrix() -> None:
    details = Details(confusion=((0, 0, 8), (0, 1, 2), (2, 0, 1), (2, 1, 1), (2, 2, 2)))
    found = confusion(ReportInput({}, classes=CLASSES, details=details))
    assert found is not None
    assert [[cell[0] for cell in cells] for _, cells, _ in found.rows] == [[8, 2, 0], [0, 0, 0], [1, 1, 2]]
    assert [share for _, _, share in found.rows] == [80.0, None, 50.0]
    assert (found.wrong, found.images) == (4, 14)


@pytest.mark.parametrize(("count", "side"), [(100, 100), (1000, 250)])
def test_many_classes_give_a_picture_and_the_classes_to_look_at(count: int, side: int) -> None:
    classes = [f"class {i}" for i in range(count)]
    cells = [(i, i, 50) for i in range(count)] + [(3, 97, 4), (60, 5, 9)]
    report = ReportInput({}, classes=classes, details=Details(confusion=tuple(cells)))
    found = confusion(report)
    assert found is not None
    assert found.pairs == (("class 60", "class 5", 9), ("class 3", "class 97", 4))
    assert [name for name, _, _ in found.worst[:2]] == ["class 60", "class 3"]
    pixels = np.asarray(decoded(found.picture))
    assert pixels.shape == (side, side, 4)
    a_pixel = count // side
    assert pixels[60 // a_pixel, 5 // a_pixel, 0] > pixels[60 // a_pixel, 5 // a_pixel, 2]  # red: wrong
    assert (pixels[range(side), range(side), 2] > pixels[range(side), range(side), 0]).all()  # blue: right
    assert np.count_nonzero(pixels[..., 3]) == side + 2
    assert len(found.picture) < 100_000
    Page(render_report(report))


def test_a_strip_has_a_rectangle_over_every_code_in_use_and_no_other() -> None:
    view = layer(bits=5, shape=(4, 2, 3, 3))
    (row,) = layer_rows([view], {})
    covered = set[int]()
    for start, length in re.findall(r"M(\d+) 0h(\d+)v1h-\d+z", row.strip):
        covered |= set(range(int(start), int(start) + int(length)))
    assert covered == set(np.flatnonzero(view.code_counts).tolist())
    assert row.available == view.code_counts.size == 31


def test_the_form_of_the_regularizer_that_was_not_used_has_no_chart() -> None:
    entries = [{"epoch": 0.0, "amplitude": 0.0, "eta": 1e-4}, {"epoch": 1.0, "amplitude": 0.0, "eta": 1.0}]
    assert [chart.title for chart in training_charts(entries)] == ["Strength η of the decoupled pull"]
    assert training_charts(entries)[0].logarithmic


def test_a_measurement_says_so_and_an_estimate_is_an_interval() -> None:
    common = {"target": "pi", "via": "ssh", "lane": "litert", "equal_bytes": True}
    measured = common | {
        "basis": "measured",
        "runs": 100,
        "threads": 2,
        "p50_ms": 1.25,
        "p99_ms": 2.5,
        "flags": ["noisy"],
    }
    estimated = common | {"basis": "estimate", "estimate": ESTIMATE}
    first, second = timing.bench_rows({"bench": [measured, estimated]})
    assert (first.time, first.basis) == (
        "1.25 ms median, 2.5 ms at 99 %",
        "measured, 100 runs on 2 threads; not to be trusted: noisy",
    )
    assert (second.time, second.energy, second.basis) == ("0.5 to 2 ms", "", "made up")
    facts = {key: value for key, value, _ in sections.facts({"bench": [estimated]})}
    assert facts == {"Time, estimated": "0.5–2 ms"}  # noqa: RUF001


def test_operations_share_the_time_and_the_costliest_come_first() -> None:
    times = [1.0, 3.0, *[0.5] * 12]
    operations = tuple(OperationTime("ADD", str(i), 0, 1, ms, None) for i, ms in enumerate(times))
    (found,) = timing.timed_lanes([BenchedLane("a core", "", operations)])
    assert [row.operation.name for row in found.costly[:2]] == ["1", "0"]
    assert (len(found.costly), len(found.rows), found.total) == (10, 14, 14)
    assert sum(row.share for row in found.rows) == pytest.approx(1)
    assert found.costly[0].share == pytest.approx(0.3)


@pytest.mark.parametrize("function", ["sine", "cosine", "hat"])
@pytest.mark.parametrize("bits", range(2, 8))
def test_the_codes_of_a_grid_are_counted_as_the_grid_has_them(bits: int, function: Function) -> None:
    (row,) = layer_rows([layer(bits=bits, function=function, shape=(64, 64, 3, 3))], manifest())
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
    layers = [layer(f"layer{i}.conv", shape=(64, 64, 3, 3)) for i in range(300)]
    text = render_report(ReportInput({}, layers=layers))
    assert len(text) < 700_000
    assert text.count('class="bars"') == 3 * 64
    assert "Histograms of the 64 largest of 300 layers" in text


def test_a_thousand_epochs_keep_the_page_light() -> None:
    details = Details(history=history(1000))
    assert len(render_report(ReportInput({}, details=details))) < 200_000


def test_shapes_that_do_not_fit_are_refused() -> None:
    for cell in ((0, 3, 1), (0, 1), (0, -1, 2), (0, 1, 0)):
        with pytest.raises(FormatError, match="confusion matrix"):
            ReportInput({}, classes=CLASSES, details=Details(confusion=(cell,)))
    with pytest.raises(FormatError, match="class without a name"):
        ReportInput({}, classes=CLASSES, details=Details(shown=(disagreement(int8_class=3),)))
    with pytest.raises(FormatError, match="cannot draw"):
        thumbnails.thumbnail_uri(np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(FormatError, match="-qmax to qmax"):
        LayerView("a", (2,), 8, 1.0, 1.0, np.zeros(4, np.int64))


def test_the_files_of_a_folder_are_one_row() -> None:
    sizes = {"model.tflite": 5, "android/a.kt": 2, "android/app/b.kt": 3, "notes/one.txt": 4, "report.html": 9}
    entries = [{"path": path, "bytes": size, "sha256": "0" * 64} for path, size in sizes.items()]
    rows = [(row.path, row.size_bytes, row.count) for row in sections.files({"artifacts": entries})]
    assert rows == [("model.tflite", 5, 1), ("android/", 5, 2), ("notes/one.txt", 4, 1)]
