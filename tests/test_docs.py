"""The pages say what is so: links lead somewhere, examples run, the recipe's table is the dataclasses'.

python tests/test_docs.py     writes the tables of docs/reference/recipe.md anew
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import runpy
import tomllib
import urllib.parse
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM
from typing import Any

import pytest
from docs_pages import NAMES, PAGES, ROOT, blocks, check_manifest

import edgeq
from edgeq import errors
from edgeq.calibrate import CalibrationRecipe
from edgeq.recipe import Recipe, recipe_from_dict
from edgeq.strict_toml import table_to_dataclass, toml_value

REMEDY = "run: python tests/test_docs.py"


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert "://" in target or (path.parent / target).exists(), target


# Nobody fetches these in a test; who adds one looks at it once.
EXTERNAL = {
    "https://docs.python.org/3/reference/datamodel.html#customizing-module-attribute-access",
    "https://github.com/google-ai-edge/LiteRT",
}


def test_links_to_elsewhere_are_listed_and_well_formed() -> None:
    found = {url for path in PAGES for url in re.findall(r"\bhttps?:[^\s)>`\"']*", path.read_text(encoding="utf-8"))}
    assert found == EXTERNAL
    parts = [urllib.parse.urlsplit(url) for url in found]
    assert all(part.scheme == "https" and "." in part.netloc and part.port is None for part in parts)


def test_the_figures_are_what_their_script_draws() -> None:
    folder = ROOT / "docs" / "images"
    names = runpy.run_path(str(folder / "draw.py"))
    for name, draw in names["FIGURES"].items():
        assert (folder / name).read_text(encoding="utf-8") == draw(), "run: python docs/images/draw.py"
    for strength in names["STRENGTHS"]:
        assert (abs(names["descent"](strength)[-1]) < 0.01) == (strength < 2), "what the page says of the strength"


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_python_and_toml_on_a_page_are_well_formed(path: Path) -> None:
    for block in blocks(path, "python"):
        ast.parse(block)
    for block in blocks(path, "toml"):
        table = tomllib.loads(block)
        if "schema" in table:  # a target has one, a recipe has not
            continue
        if "correct_bias" in table:
            table_to_dataclass(CalibrationRecipe, table, where="calibration")
        else:
            recipe_from_dict(table)


def test_the_regularizer_example_of_the_readme_runs() -> None:
    import torch
    from torch import nn

    (block,) = blocks(ROOT / "README.md", "python")
    model = nn.Linear(3, 2)
    names: dict[str, Any] = {"model": model, "loss": model(torch.ones(1, 3)).sum()}
    exec(block, names)
    assert model.weight.grad is not None
    assert not torch.equal(model.weight.grad, torch.ones(2, 3))


def test_the_model_example_runs() -> None:
    import torch

    names: dict[str, Any] = {}
    exec(
        next(block for block in blocks(ROOT / "docs" / "how-to" / "own-model.md", "python") if "def tiny" in block),
        names,
    )
    assert names["tiny"]()(torch.zeros(2, 3, 16, 16)).shape == (2, 10)


def test_the_target_example_is_a_target(tmp_path: Path) -> None:
    from edgeq.targets import load_target

    (block,) = blocks(ROOT / "docs" / "how-to" / "add-a-target.md", "toml")
    (tmp_path / "my-board.toml").write_text(block)
    assert load_target(str(tmp_path / "my-board.toml")).name == "my-board"


def test_the_errors_page_lists_every_exception_and_code() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(\w+Error)`", page)) == set(errors.__all__) - {"EdgeqError"}
    listed = {int(code) for codes in re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE) for code in codes.split(",")}
    assert listed == {0, 1, 2, *(128 + number for number in (SIGHUP, SIGINT, SIGTERM))}


def test_the_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    assert set(edgeq.__all__) - {"__version__"} <= set(re.findall(r"^\.\. auto\w+:: edgeq\.(\w+)$", page, re.MULTILINE))


def test_the_manifest_page_lists_every_key(built: Any) -> None:
    page = (ROOT / "docs" / "reference" / "manifest.md").read_text(encoding="utf-8")
    manifest = json.loads((built.out / "manifest.json").read_text())
    keys = {*manifest, *manifest["accuracy"], *manifest["parity"], *manifest["data"], *manifest["training"]}
    keys |= {
        *manifest["layers"][0],
        *manifest["parity"]["layers"][0],
        *manifest["artifacts"][0],
        *manifest["stages"][0],
    }
    assert keys <= set(re.findall(r"`(\w+)`", page))


def test_a_manifest_is_what_its_schema_says(built: Any) -> None:
    from jsonschema.exceptions import ValidationError

    manifest = json.loads((built.out / "manifest.json").read_text())
    check_manifest(manifest)
    for wrong in (
        {**manifest, "unknown": 1},
        {**manifest, "schema": 2},
        {name: value for name, value in manifest.items() if name != "accuracy"},
        {**manifest, "layers": [{**manifest["layers"][0], "codes_sha256": "0"}]},
    ):
        with pytest.raises(ValidationError):
            check_manifest(wrong)


# --- the tables of docs/reference/recipe.md -----------------------------------------------------------------------


def attribute_texts(cls: type) -> dict[str, str]:
    """The Attributes of a docstring, as Markdown."""
    texts: dict[str, str] = {}
    name = ""
    for line in (cls.__doc__ or "").split("Attributes:")[1].splitlines():
        if (match := re.match(r" {8}(\w+): (.*)", line)) is not None:
            name, texts[match[1]] = match[1], match[2]
        elif name and line.strip():
            texts[name] += f" {line.strip()}"
    return {name: re.sub(r":\w+:`", "`", text).replace("``", "`") for name, text in texts.items()}


def recipe_tables() -> str:
    """A table for each part of the recipe: key, default, and what its docstring says."""
    lines = []
    parts = [
        ("", Recipe()),
        *((name, getattr(Recipe(), name)) for name in ("data", "train", "regularizer", "rounding", "quantize")),
    ]
    for part, value in parts:
        texts = attribute_texts(type(value))
        lines += [
            "",
            f"## [{part}]" if part else "## At the top",
            "",
            "| key | default | what |",
            "| --- | --- | --- |",
        ]
        for item in dataclasses.fields(value):
            default = getattr(value, item.name)
            if not dataclasses.is_dataclass(default):
                shown = "" if default is None else f"`{toml_value(default)}` "
                lines.append(f"| `{part + '.' if part else ''}{item.name}` | {shown}| {texts[item.name]} |")
    return "\n".join(lines) + "\n"


def page_with_tables() -> str:
    page = (ROOT / "docs" / "reference" / "recipe.md").read_text(encoding="utf-8")
    return page.split("\n## ")[0].rstrip("\n") + "\n" + recipe_tables()


def test_the_recipe_page_is_what_the_dataclasses_say() -> None:
    assert (ROOT / "docs" / "reference" / "recipe.md").read_text(encoding="utf-8") == page_with_tables(), REMEDY


if __name__ == "__main__":
    (ROOT / "docs" / "reference" / "recipe.md").write_text(page_with_tables(), encoding="utf-8")
