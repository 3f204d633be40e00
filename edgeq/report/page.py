"""The report page: ``render_report`` turns a build's figures into one self-contained HTML document.

No network, no clock: equal input gives equal bytes. All text from outside passes jinja2's autoescape. The one script
enlarges drawings; nothing else runs (the page's own policy allows that script by its hash).
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from edgeq.display import words
from edgeq.report import charts, sections
from edgeq.report.compression import compression_rows
from edgeq.report.confusion import confusion
from edgeq.report.content import ReportInput
from edgeq.report.layers import layer_rows
from edgeq.report.sections import PAGE
from edgeq.report.timing import bench_rows, timed_lanes
from edgeq.report.training import training_charts, training_table

__all__ = ["PAGE", "render_report"]

FOLDER = Path(__file__).parent

# What HTML or UTF-8 cannot carry (controls, halves of a surrogate pair from an undecodable file name), and what would
# turn the rest of a line round.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def render_report(report: ReportInput) -> str:
    """Draw the report.

    Args:
        report: the build's figures; an empty part leaves its section out.

    Returns:
        A whole HTML document; write it as UTF-8.
    """
    manifest = report.manifest
    context = {
        "training": training_charts(report.details.history),
        "compression": compression_rows(manifest),
        "layers": layer_rows(report.layers, manifest),
        "confusion": confusion(report),
        "bench": bench_rows(manifest),
        "lanes": timed_lanes(report.bench),
    }
    script = (FOLDER / "zoom.js").read_text(encoding="utf-8")
    return _template().render(
        context,
        report=report,
        manifest=manifest,
        title=_title(report),
        verdict=sections.verdict(manifest),
        accuracies=sections.accuracies(manifest),
        facts=sections.facts(manifest),
        smaller=sections.smaller(manifest),
        files=sections.files(manifest),
        stages=sections.stages(manifest),
        training_table=training_table(report.details.history),
        pictures=sections.pictures(report.details, report.classes),
        charts=charts,
        style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),  # both are files of ours
        script=Markup(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        parts=_parts(report, context),
    )


def _parts(report: ReportInput, context: dict[str, object]) -> list[tuple[str, str]]:
    """File and heading of each section that has something to show, in the page's order."""
    manifest = report.manifest
    there = (
        ("training", "Training", context["training"]),
        ("compression", "Compression", context["compression"]),
        ("layers", "Layers", context["layers"]),
        ("parity", "Parity", report.parity),
        ("confusion", "Confusion", context["confusion"]),
        ("disagreements", "Disagreements", report.details.disagreements),
        ("device", "On the device", context["bench"] or context["lanes"]),
        ("files", "Sizes", sections.files(manifest)),
        ("stages", "Stages", sections.stages(manifest)),
        ("recipe", "Command and recipe", report.details.command or report.recipe_toml),
    )
    return [(name, words) for name, words, something in there if something]


def _title(report: ReportInput) -> str:
    recipe = report.manifest.get("recipe") or {}
    data = report.manifest.get("data") or {}
    words = [str(recipe.get("model") or report.manifest.get("model") or "model")]
    if data.get("name"):
        words.append(f"on {data['name']}")
    if recipe.get("bits"):
        words.append(f"at {recipe['bits']} {'bit' if recipe['bits'] == 1 else 'bits'}")
    return " ".join(words)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {
        "size": words.size,
        "duration": words.duration,
        "short": charts.short,
        "count": "{:,}".format,
        "drawing_is_safe": _safe,
        "breakable": _breakable,
    }
    return environment.get_template("report.html.jinja")


def _safe(drawing: str) -> Markup:
    """An SVG of :mod:`edgeq.bench.roofline`, which escapes the names in it."""
    return Markup(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", drawing))


def _breakable(name: str) -> Markup:
    """A dotted name, which may be broken after its dots, underscores and slashes before it is broken anywhere."""
    return Markup(re.sub(r"([._/])(?=.)", r"\1<wbr>", str(escape(_printable(name)))))


def _printable(value: object) -> object:
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value) if type(value) is str else value
