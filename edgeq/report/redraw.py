"""``edgeq report``: draw the page of a finished build or export again, with what a bench found since."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.errors import FormatError
from edgeq.manifest import artifact_entries, read_manifest, write_manifest
from edgeq.report.gather import gather_report
from edgeq.report.manifest_view import check_manifest
from edgeq.report.page import PAGE, render_report

if TYPE_CHECKING:
    from edgeq.bench.board import Measured
    from edgeq.bench.result import Emulation

__all__ = ["redraw"]


def redraw(folder: Path, found: Sequence[Emulation | Measured] = (), where: Path | None = None) -> dict[str, Any]:
    """Write ``report.html`` anew, and its fingerprint into the manifest; both or neither.

    Args:
        folder: what ``edgeq build``, ``export`` or ``quantize`` left.
        found: of a bench; its figures go into the manifest, too.
        where: they come from; named where they are of another artifact.

    Returns:
        The manifest.

    Raises:
        FormatError: a file is missing, damaged, or not of the same artifact.
    """
    manifest = read_manifest(folder / "manifest.json")
    check_manifest(manifest, folder / "manifest.json")
    if found:
        from edgeq.bench.record import with_results

        built = {item.get("sha256") for item in manifest.get("artifacts", [])}
        found = [item for item in found if item.sha256 in built] or found  # a second artifact is not of this page
        manifest = with_results(manifest, found, where or folder)
    page = render_report(gather_report(folder, manifest, found))
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
