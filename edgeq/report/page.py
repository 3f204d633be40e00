"""The report page: ``render_report`` turns a build's figures into one self-contained HTML document.

No script, no network, no clock: equal input gives equal bytes. All text from outside passes jinja2's autoescape.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from edgeq.report import charts, sections
from edgeq.report.content import Disagreement, LayerView, ReportInput

__all__ = ["Disagreement", "LayerView", "ReportInput", "render_report"]

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
    return _template().render(
        report=report,
        manifest=manifest,
        title=_title(report),
        verdict=sections.verdict(manifest),
        accuracies=sections.accuracies(manifest),
        training=sections.training_charts(report.history),
        layers=sections.layer_rows(report.layers, manifest),
        confusion=sections.confusion(report),
        pictures=sections.pictures(report.disagreements, report.classes),
        charts=charts,
    )


def _title(report: ReportInput) -> str:
    recipe = report.manifest.get("recipe") or {}
    data = report.manifest.get("data") or {}
    words = [str(recipe.get("model") or "model")]
    if data.get("name"):
        words.append(f"on {data['name']}")
    if recipe.get("bits"):
        words.append(f"at {recipe['bits']} {'bit' if recipe['bits'] == 1 else 'bits'}")
    return " ".join(words)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {"size": _size, "short": charts.short, "count": "{:,}".format}
    return environment.get_template("report.html.jinja")


def _printable(value: object) -> object:
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value) if type(value) is str else value


def _size(size_bytes: int) -> str:
    """A size for people; the exact bytes stand beside it."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    if size_bytes < 1024**2:
        return f"{size_bytes / 1024:.1f} KiB"
    return f"{size_bytes / 1024**2:.2f} MiB"
