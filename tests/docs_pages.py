"""What the pages hold that a test can try: their commands with the output shown, and their programs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["NAMES", "PAGES", "ROOT", "TINY", "Shown", "blocks", "check_manifest", "commands"]

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


@dataclass(frozen=True)
class Shown:
    """A command on a page: its line, joined where it was broken, and the output shown below it."""

    page: str
    line: str
    output: tuple[str, ...] = ()


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[Shown]:
    """Of every ``bash`` block each line; of every ``console`` block each line after ``$``."""
    found = []
    for path, name in zip(PAGES, NAMES, strict=True):
        for block in blocks(path, "bash"):
            lines = block.replace("\\\n", " ").splitlines()
            found += [Shown(name, " ".join(line.split())) for line in lines if line.strip()]
        for block in blocks(path, "console"):
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                line, *output = part.replace("\\\n", " ").splitlines()
                found.append(Shown(name, " ".join(line.split()), tuple(output)))
    return found


def check_manifest(manifest: Any) -> None:
    """Against docs/reference/manifest.schema.json, by the field's own validator."""
    import jsonschema

    schema = json.loads((ROOT / "docs" / "reference" / "manifest.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(manifest, schema, jsonschema.Draft202012Validator)


TINY = next(block for block in blocks(ROOT / "docs" / "how-to" / "own-model.md", "python") if "def tiny" in block)
"""The small network of the pages, a file of its own."""
