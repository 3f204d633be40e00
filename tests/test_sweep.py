from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from edgeq import sweep as module
from edgeq.errors import RecipeError
from edgeq.recipe import DataRecipe, Recipe, TrainRecipe, load_recipe
from edgeq.sweep import Run, run_sweep

# Stands in for `edgeq train`: notes that it began, does what the recipe's seed says, leaves a manifest.
CHILD = textwrap.dedent(
    """
    import json, os, pathlib, signal, sys, time, tomllib
    options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
    out = pathlib.Path(options["--out"])
    recipe = tomllib.loads(pathlib.Path(options["--recipe"]).read_text())
    with open(out.parent / "order.txt", "a") as file:
        file.write(json.dumps([sys.argv[1], out.name, options.get("--init", ""), "--resume" in sys.argv]) + "\\n")
    if recipe["seed"] == 13:
        print("edgeq: training diverged")
        sys.exit(1)
    if recipe["seed"] == 60:
        signal.signal(signal.SIGTERM, lambda *_: ((out.parent / "asked").touch(), sys.exit(1)))
        (out.parent / "part").write_text(str(os.getpid()))
        (out.parent / "part").rename(out.parent / "sleeping")
        time.sleep(60)
    out.mkdir()
    (out / "manifest.json").write_text(json.dumps({"schema": 1, "accuracy": {"snapped": recipe["seed"]}}))
    """
)


def run(name: str, seed: int = 1, after: str = "") -> Run:
    return Run(name, Recipe(seed=seed), after=after)


@pytest.fixture(autouse=True)
def quick_children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.setattr(module, "COMMAND", (sys.executable, str(tmp_path / "child.py")))
    monkeypatch.setattr(module, "POLL_S", 0.01)


def started(folder: Path) -> list[tuple[str, str, str, bool]]:
    return [tuple(json.loads(line)) for line in (folder / "order.txt").read_text().splitlines()]


def test_each_run_has_its_recipe_and_those_that_build_on_another_wait_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    runs = [run("tuned", 2, after="first"), run("first", 7), dataclasses.replace(run("built", 3), whole=True)]
    found = run_sweep(runs, folder, jobs=2)
    assert {name: manifest["accuracy"]["snapped"] for name, manifest in found.manifests.items()} == {
        "tuned": 2,
        "first": 7,
        "built": 3,
    }
    assert load_recipe(folder / "tuned.toml") == runs[0].recipe
    order = {name: (command, init) for command, name, init, _ in started(folder)}
    assert order["built"] == ("build", "")
    assert order["tuned"] == ("train", str(folder / "first" / "checkpoint.safetensors"))
    assert list(order).index("first") < list(order).index("tuned")


def test_what_is_finished_is_not_run_again(tmp_path: Path) -> None:
    run_sweep([run("a")], tmp_path / "sweep")
    found = run_sweep([run("a"), run("b")], tmp_path / "sweep")
    assert set(found.manifests) == {"a", "b"}
    assert [name for _, name, *_ in started(tmp_path / "sweep")] == ["a", "b"]


def test_a_failure_stops_only_what_builds_on_it_and_is_tried_again(tmp_path: Path) -> None:
    runs = [run("bad", 13), run("child", after="bad"), run("grandchild", after="child"), run("good")]
    for _ in range(2):
        found = run_sweep(runs, tmp_path / "sweep")
        assert set(found.manifests) == {"good"}
        assert found.failures["bad"] == "edgeq: training diverged"
        assert "bad failed" in found.failures["child"]
        assert "child failed" in found.failures["grandchild"]
    assert [name for _, name, *_ in started(tmp_path / "sweep")] == ["bad", "good", "bad"]


def test_an_interrupted_run_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    (folder / ".a.part" / "checkpoints").mkdir(parents=True)
    (folder / ".a.part" / "checkpoints" / "last.ckpt").touch()
    (folder / ".b.part" / "checkpoints").mkdir(parents=True)  # killed within its first epoch
    run_sweep([run("a"), run("b")], folder)
    assert {name: resumed for _, name, _, resumed in started(folder)} == {"a": True, "b": False}


def test_another_recipe_under_the_same_name_is_refused(tmp_path: Path) -> None:
    run_sweep([run("a", 1)], tmp_path / "sweep")
    with pytest.raises(RecipeError, match="another recipe"):
        run_sweep([run("a", 2)], tmp_path / "sweep")


def test_a_recipe_of_an_earlier_edgeq_is_the_same_recipe(tmp_path: Path) -> None:
    """It lacks a key that is new, and sets one that is left to edgeq now."""
    run_sweep([run("a", 1)], tmp_path / "sweep")
    path = tmp_path / "sweep" / "a.toml"
    text = path.read_text()
    assert "packed = false\n" in text
    assert "warmup" not in text
    path.write_text(text.replace("packed = false\n", "").replace("[train]\n", "[train]\nwarmup = 0.2\n"))
    assert run_sweep([run("a", 1)], tmp_path / "sweep").manifests.keys() == {"a"}
    path.write_text(text.replace("cutout = 0\n", "cutout = 4\n"))
    with pytest.raises(RecipeError, match="another recipe"):
        run_sweep([run("a", 1)], tmp_path / "sweep")


def test_the_same_data_and_teacher_by_another_path_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    for path in ("images", str(tmp_path / "images")):
        recipe = Recipe(data=DataRecipe(path=path), train=TrainRecipe(teachers=(path,), distillation=0.5))
        found = run_sweep([Run("a", recipe)], tmp_path / "sweep")
    assert found.manifests.keys() == {"a"}
    assert len(started(tmp_path / "sweep")) == 1
    with pytest.raises(RecipeError, match="another recipe"):
        run_sweep([Run("a", Recipe(data=DataRecipe(path="others")))], tmp_path / "sweep")


@pytest.mark.parametrize("runs", [[run("a"), run("a")], [run("a", after="b")]])
def test_runs_that_do_not_fit_together_are_refused(tmp_path: Path, runs: list[Run]) -> None:
    with pytest.raises(RecipeError, match="do not fit"):
        run_sweep(runs, tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_children(tmp_path: Path, number: signal.Signals) -> None:
    code = "import sys; from edgeq import sweep; from edgeq.cli import main\n"
    code += f"sweep.COMMAND = (sys.executable, {str(tmp_path / 'child.py')!r})\n"
    code += f"main(['reproduce', 'methods', '--seed', '60', '--out', {str(tmp_path / 'sweep')!r}])\n"
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    child = child_of(tmp_path / "sweep")
    parent.send_signal(number)
    threading.Timer(50, parent.kill).start()
    _, told = parent.communicate()
    assert parent.returncode == 128 + number, told
    assert (tmp_path / "sweep" / "asked").exists()
    assert not Path("/proc", child).exists()


def test_children_of_a_background_job_are_stopped(tmp_path: Path) -> None:
    """Such a job and all that it starts have SIGINT ignored."""
    code = "import pathlib, signal, sys; from edgeq import sweep; from edgeq.recipe import Recipe\n"
    code += "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code += "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
    code += f"sweep.COMMAND = (sys.executable, {str(tmp_path / 'child.py')!r})\n"
    code += f"sweep.run_sweep([sweep.Run('long', Recipe(seed=60))], pathlib.Path({str(tmp_path / 'sweep')!r}))\n"
    parent = subprocess.Popen([sys.executable, "-c", code])
    child = child_of(tmp_path / "sweep")
    began = time.monotonic()
    parent.terminate()
    assert parent.wait(50) == 3
    assert (tmp_path / "sweep" / "asked").exists()
    assert not Path("/proc", child).exists()
    assert time.monotonic() - began < module.GRACE_S / 2


def child_of(folder: Path) -> str:
    """The process of the run that sleeps, once it does."""
    deadline = time.monotonic() + 60
    while not (folder / "sleeping").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    return (folder / "sleeping").read_text()


def test_cores_and_devices_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert module._environment({}, 0, 4) == {"OMP_NUM_THREADS": "2"}
    assert module._environment({"OMP_NUM_THREADS": "3"}, 0, 4) == {"OMP_NUM_THREADS": "3"}
    shared = [
        module._environment({"CUDA_VISIBLE_DEVICES": "5,7"}, slot, 4)["CUDA_VISIBLE_DEVICES"] for slot in range(4)
    ]
    assert shared == ["5", "7", "5", "7"]


def test_a_recipe_that_is_not_the_default_survives(tmp_path: Path) -> None:
    recipe = Recipe(train=TrainRecipe(epochs=3, cutout=4), bits=4)
    run_sweep([Run("a", recipe)], tmp_path / "sweep")
    assert load_recipe(tmp_path / "sweep" / "a.toml") == recipe


def test_a_real_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-m", "edgeq"))
    recipe = Recipe(model="mlp", bits=4, train=TrainRecipe(epochs=1))
    first = Run("first", recipe)
    second = Run("second", dataclasses.replace(recipe, method="straight-through"), after="first")
    found = run_sweep([first, second], tmp_path / "sweep")
    assert not found.failures
    assert found.manifests["second"]["recipe"]["train"]["init"] == str(
        tmp_path / "sweep" / "first" / "checkpoint.safetensors"
    )
