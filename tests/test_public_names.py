"""``edgeq`` as a user meets it: every public name resolves lazily, is typed, and says what it does."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

import edgeq

NAMES = [name for name in edgeq.__all__ if not name.startswith("__")]
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(edgeq, name))]
CLASSES = [name for name in NAMES if inspect.isclass(getattr(edgeq, name))]
HEAVY = {"torch", "numpy", "onnx", "onnx_ir", "onnxruntime", "lightning", "rich", "PIL", "ai_edge_litert", "click"}


def run(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_importing_the_package_is_quick_and_brings_nothing_heavy() -> None:
    times = run("import sys, time; t = time.perf_counter(); import edgeq; print(time.perf_counter() - t, *sys.modules)")
    seconds, *modules = times.split()
    assert not HEAVY & set(modules)
    assert not {name for name in modules if name.startswith("edgeq.")}
    assert float(seconds) < 0.25, "a tenth of it on an idle machine"


def test_every_name_is_sorted_and_resolves_where_it_is_defined() -> None:
    assert set(NAMES) == set(FUNCTIONS) | set(CLASSES)
    assert set(edgeq.__all__) <= set(dir(edgeq))
    for name in NAMES:
        found = getattr(edgeq, name)
        assert found is getattr(importlib.import_module(found.__module__), name)
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        _ = edgeq.biuld  # type: ignore[attr-defined]


def test_editors_see_the_names_that_there_are() -> None:
    """The TYPE_CHECKING block, __all__ and the table of homes are of one mind."""
    import ast

    tree = ast.parse(Path(edgeq.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: str(node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == {name: f"edgeq.{home}" for name, home in edgeq._HOMES.items()}
    assert set(imported) == set(NAMES)


def test_functions_stay_functions_when_a_package_of_their_name_is_imported() -> None:
    packages = (
        "edgeq.verify.reasons",
        "edgeq.bench.result",
        "edgeq.train.result",
        "edgeq.export",
        "edgeq.report",
        "edgeq.snap",
    )
    names = [package.split(".")[1] for package in packages]
    shown = f"print(*(getattr(edgeq, name).__name__ for name in {names}))"
    for first, second in ((f"import {', '.join(packages)}", ""), ("", f"import {', '.join(packages)}")):
        out = run(f"{first}\nimport edgeq\n{shown}\n{second}\n{shown}")
        assert out == f"{' '.join(names)}\n" * 2


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_annotated_and_documented(name: str) -> None:
    function = getattr(edgeq, name)
    signature, text = inspect.signature(function), inspect.getdoc(function) or ""
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty
        if "Args:" in text:
            assert f"    {parameter.name}: " in text, parameter.name
    assert "Args:" in text or len(signature.parameters) < 2
    assert signature.return_annotation == "None" or "Returns:" in text or len(signature.parameters) < 2
    assert "Raises:" in text or not signature.parameters


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_and_what_it_offers_are_documented_and_typed(name: str) -> None:
    cls: Any = getattr(edgeq, name)
    assert not (inspect.getdoc(cls) or f"{name}(").startswith(f"{name}("), "what dataclass makes up"
    if dataclasses.is_dataclass(cls):
        assert getattr(cls, "__dataclass_params__").frozen  # noqa: B009
        for item in dataclasses.fields(cls):
            if item.init:
                assert f"{item.name}" in (cls.__doc__ or ""), item.name
    for key, member in vars(cls).items():
        if key.startswith("_") or (dataclasses.is_dataclass(cls) and key in {f.name for f in dataclasses.fields(cls)}):
            continue
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function):
            assert inspect.getdoc(getattr(cls, key)), f"{name}.{key}"
            assert "return" in function.__annotations__, f"{name}.{key}"


def test_the_types_are_shipped() -> None:
    assert (Path(edgeq.__file__).parent / "py.typed").exists()


def test_every_error_is_exported() -> None:
    from edgeq import errors

    assert set(errors.__all__) <= set(NAMES)
    assert all(issubclass(getattr(edgeq, name), edgeq.EdgeqError) for name in errors.__all__)


def test_annotations_of_results_resolve() -> None:
    assert typing.get_type_hints(edgeq.ConvertResult)["path"] is Path
    assert typing.get_type_hints(edgeq.BuildResult)["manifest"]
