"""``edgeq report``: draw the page of a finished build or export again, with what a bench found since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeq.errors import FormatError
from edgeq.manifest import artifact_entries, read_manifest, write_manifest
from edgeq.report.gather import gather_report
from edgeq.report.manifest_view import check_manifest
from edgeq.report.page import render_report

__all__ = ["PAGE", "redraw"]

PAGE = "report.html"


def redraw(folder: Path, bench: Path | None = None) -> dict[str, Any]:
    """Write ``report.html`` anew, and its fingerprint into the manifest; both or neither.

    Args:
        folder: what ``edgeq build``, ``export`` or ``quantize`` left.
        bench: what ``edgeq bench --save`` wrote; its figures go into the manifest, too.

    Returns:
        The manifest.

    Raises:
        FormatError: a file is missing, damaged, or not of the same artifact.
    """
    manifest = read_manifest(folder / "manifest.json")
    check_manifest(manifest, folder / "manifest.json")
    results = []
    if bench is not None:
        from edgeq.bench.record import with_results
        from edgeq.bench.results_file import read_bench

        found = read_bench(bench)
        built = {item.get("sha256") for item in manifest.get("artifacts", [])}
        results = [item for item in found if item.sha256 in built] or found  # a second artifact is not of this page
        manifest = with_results(manifest, results, bench)
    page = render_report(gather_report(folder, manifest, results))
    parts = {name: folder / f".{name}.part" for name in (PAGE, "manifest.json")}
    try:
        parts[PAGE].write_text(page, encoding="utf-8")
        (entry,) = artifact_entries(folder, [parts[PAGE].name])
        others = [item for item in manifest.get("artifacts", []) if item["path"] != PAGE]
        manifest = manifest | {"artifacts": [*others, entry | {"path": PAGE}]}
        write_manifest(parts["manifest.json"], manifest)
        for name, part in parts.items():
            part.replace(folder / name)
    except OSError as error:
        raise FormatError("cannot be written", where=folder / PAGE, got=error.strerror) from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return manifest
