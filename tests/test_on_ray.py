"""A sweep on a Ray cluster of one node; what it leaves is what a sweep without Ray leaves."""

from __future__ import annotations

import json
import socket
import sys
import textwrap
from pathlib import Path

import pytest
from needs import needs_ray

from edgeq import sweep as module
from edgeq.errors import RecipeError
from edgeq.recipe import Recipe
from edgeq.sweep import Run, Sweep, run_sweep

# Stands in for `edgeq train`: fails where the recipe's seed is 13.
CHILD = textwrap.dedent(
    """
    import json, pathlib, sys, tomllib
    options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
    seed = tomllib.loads(pathlib.Path(options["--recipe"]).read_text())["seed"]
    if seed == 13:
        sys.exit("edgeq: training diverged")
    pathlib.Path(options["--out"]).mkdir()
    manifest = {"schema": 1, "accuracy": {"snapped": seed}, "init": options.get("--init")}
    (pathlib.Path(options["--out"]) / "manifest.json").write_text(json.dumps(manifest))
    """
)

RUNS = [
    Run("first", Recipe(seed=1)),
    Run("bad", Recipe(seed=13)),
    Run("tuned", Recipe(seed=2), after="first"),
    Run("lost", Recipe(seed=3), after="bad"),
]


def sweep_in(folder: Path, monkeypatch: pytest.MonkeyPatch, ray: str) -> Sweep:
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("child.py").write_text(CHILD)
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "child.py"))  # found from here alone
    return run_sweep(RUNS, Path("out"), jobs=2, ray=ray)


@needs_ray
def test_it_ends_as_a_sweep_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sweep_in(tmp_path / "ray", monkeypatch, "local") == sweep_in(tmp_path / "here", monkeypatch, "")
    assert (tmp_path / "ray" / "out" / "bad.log").read_text() == "edgeq: training diverged\n"
    written = json.loads((tmp_path / "ray" / "out" / "tuned" / "manifest.json").read_text())
    assert written["init"] == "out/first/checkpoint.safetensors"


@needs_ray
def test_a_cluster_that_does_not_answer_is_told_at_once(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RecipeError, match=rf"--ray: no Ray cluster answers \(got {address}, wanted auto"):
            run_sweep(RUNS, tmp_path, ray=address)


def test_without_ray_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "edgeq.on_ray", raising=False)
    with pytest.raises(RecipeError, match=r"--ray: Ray is not installed \(got ray\); pip install 'edgeq\[ray\]'"):
        run_sweep(RUNS, tmp_path, ray="local")
