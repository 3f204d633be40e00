"""Many trainings as one piece of work: side by side, and going on where an earlier call stopped.

Each run is a process of its own, ``edgeq train`` or ``edgeq build`` on a recipe file in the folder of the sweep, here
or on a node of a Ray cluster. What is finished there is not run again; what was interrupted goes on from its last
checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgeq.errors import EdgeqError, ModelError, RecipeError
from edgeq.manifest import read_manifest
from edgeq.progress import Progress, Silent, Task
from edgeq.recipe import Recipe, load_recipe, recipe_to_toml
from edgeq.workspace import Workspace

__all__ = ["Run", "Sweep", "run_sweep", "stop"]

COMMAND: Final = (sys.executable, "-m", "edgeq")
POLL_S: Final = 0.5
GRACE_S: Final = 30.0
LOG_TAIL_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class Run:
    """One training.

    Attributes:
        name: of its folder and files in the sweep's.
        recipe: every choice.
        whole: export and verify, too (``edgeq build``); else training and snap alone (``edgeq train``).
        after: the run whose ``checkpoint.safetensors`` this one starts from; empty for none.
    """

    name: str
    recipe: Recipe
    whole: bool = False
    after: str = ""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep came to.

    Attributes:
        manifests: of the finished runs, by name.
        failures: the last line that a failed run said, by name; a run whose start failed is among them.
    """

    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Child:
    run: Run
    process: subprocess.Popen[bytes]
    slot: int


def run_sweep(
    runs: Sequence[Run], folder: Path, *, jobs: int = 1, ray: str = "", progress: Progress | None = None
) -> Sweep:
    """Run what is not finished, so many side by side.

    Args:
        runs: names differ; one that others start from is among them.
        folder: made if need be; holds ``NAME.toml``, ``NAME.log`` and the folder ``NAME`` of each run.
        jobs: processes at a time. Cores are divided among them; with several ``CUDA_VISIBLE_DEVICES``, devices too.
        ray: the address of a Ray cluster whose nodes run them as trials of Ray Tune, and see ``folder`` and the data
            under the same paths; empty for this machine, without Ray.
        progress: counts runs; its note is what one of them said last.

    Returns:
        What finished, now or before, and what failed. A failure does not stop the others.

    Raises:
        RecipeError: the folder has a run of the same name and another recipe, or the runs do not fit together.
        KeyboardInterrupt: Ctrl-C; the runs were stopped and can go on.
    """
    _check(runs, jobs)
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        _write_recipe(run, folder)
    sweep, waiting = Sweep(), []
    for run in runs:
        if (folder / run.name / "manifest.json").is_file():
            sweep.manifests[run.name] = read_manifest(folder / run.name / "manifest.json")
        else:
            waiting.append(run)
    with (progress or Silent()).task("trainings", len(runs), len(sweep.manifests)) as task:
        if ray and waiting:
            _run_on_ray(waiting, folder, jobs, ray, sweep, task)
        else:
            _run_here(waiting, folder, jobs, sweep, task)
    return sweep


def _run_here(waiting: list[Run], folder: Path, jobs: int, sweep: Sweep, task: Task) -> None:
    children = list[_Child]()
    with _stopping(children):
        while waiting or children:
            for child in [child for child in children if child.process.poll() is not None]:
                children.remove(child)
                _collect(child.run, child.process.returncode, folder, sweep, task)
            for run in _ready(waiting, sweep, task)[: jobs - len(children)]:
                waiting.remove(run)
                slot = next(i for i in range(jobs) if i not in {child.slot for child in children})
                children.append(_Child(run, _start(run, folder, slot, jobs), slot))
            if children:
                task.advance(0, f"{children[0].run.name}: {_last_line(folder, children[0].run)}")
                time.sleep(POLL_S)


def _run_on_ray(waiting: list[Run], folder: Path, jobs: int, address: str, sweep: Sweep, task: Task) -> None:
    """What waits for others follows when all of them are done: a trial of Ray Tune cannot wait for another."""
    try:
        from edgeq.on_ray import connected, run_trials
    except ImportError as error:
        raise RecipeError(
            "Ray is not installed", where="--ray", got=error.name or error, remedy="pip install 'edgeq[ray]'"
        ) from error
    with connected(address):
        while ready := _ready(waiting, sweep, task):
            by_name = {run.name: run for run in ready}
            commands = {name: _command(run, folder)[1:] for name, run in by_name.items()}
            devices = all(run.recipe.train.device != "cpu" for run in ready)

            def tell(name: str, status: int | None, by_name: Mapping[str, Run] = by_name) -> None:
                if status is None:
                    task.advance(0, f"{name}: {_last_line(folder, by_name[name])}")
                else:
                    waiting.remove(by_name[name])
                    _collect(by_name[name], status, folder, sweep, task)

            run_trials(commands, folder, jobs=jobs, devices=devices, tell=tell)


def _ready(waiting: list[Run], sweep: Sweep, task: Task) -> list[Run]:
    """The runs that can begin; those whose start failed never can."""
    for run in [run for run in waiting if run.after in sweep.failures]:
        waiting.remove(run)
        sweep.failures[run.name] = f"{run.after} failed, which it starts from"
        task.advance(1)
    return [run for run in waiting if not run.after or run.after in sweep.manifests]


def _check(runs: Sequence[Run], jobs: int) -> None:
    names = [run.name for run in runs]
    if len(set(names)) != len(names) or any(run.after and run.after not in names for run in runs):
        raise RecipeError("the runs do not fit together", where="sweep", got=names)
    if jobs < 1:
        raise RecipeError("out of range", where="--jobs", got=jobs, wanted="1 or more")


def _write_recipe(run: Run, folder: Path) -> None:
    path = folder / f"{run.name}.toml"
    if path.is_file() and not _agree(_choices(load_recipe(path)), _choices(run.recipe)):
        raise RecipeError(
            "an earlier sweep had another recipe for this run", where=path, remedy="choose another --out, or delete it"
        )
    temporary = path.with_suffix(".part")
    temporary.write_text(recipe_to_toml(run.recipe), encoding="utf-8")
    temporary.replace(path)


def _choices(recipe: Recipe) -> dict[str, Any]:
    """All values of a recipe; data and teachers by another path to the same place are the same."""
    train = dataclasses.replace(recipe.train, teachers=tuple(map(_place, recipe.train.teachers)))
    data = dataclasses.replace(recipe.data, path=_place(recipe.data.path))
    return dataclasses.asdict(dataclasses.replace(recipe, data=data, train=train))


def _place(path: str) -> str:
    return str(Path(path).resolve()) if Path(path).exists() else path


def _agree(written: Any, wanted: Any) -> bool:
    """Whether a value of an earlier sweep is as wanted; what is left to edgeq now may be what it was set to then."""
    if isinstance(wanted, dict) and isinstance(written, dict):
        return written.keys() == wanted.keys() and all(_agree(written[key], wanted[key]) for key in wanted)
    return wanted is None or bool(written == wanted)


def _command(run: Run, folder: Path) -> list[str]:
    command = [*COMMAND, "build" if run.whole else "train"]
    command += ["--recipe", str(folder / f"{run.name}.toml"), "--out", str(folder / run.name)]
    if run.after:
        command += ["--init", str(folder / run.after / "checkpoint.safetensors")]
    if Workspace(folder / run.name).has_training():
        command.append("--resume")
    return command


def _start(run: Run, folder: Path, slot: int, jobs: int) -> subprocess.Popen[bytes]:
    with (folder / f"{run.name}.log").open("wb") as log:  # a group of its own: Ctrl-C reaches it through us alone
        return subprocess.Popen(
            _command(run, folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(os.environ, slot, jobs),
            start_new_session=True,
        )


def _environment(environment: Mapping[str, str], slot: int, jobs: int) -> dict[str, str]:
    """The share of this machine that belongs to one of so many processes."""
    share = dict(environment)
    share.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // jobs)))
    devices = [device for device in share.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
    if len(devices) > 1:
        share["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    return share


def _collect(run: Run, status: int, folder: Path, sweep: Sweep, task: Task) -> None:
    name = run.name
    try:
        if status:
            raise ModelError(_last_line(folder, run) or f"exit status {status}")
        sweep.manifests[name] = read_manifest(folder / name / "manifest.json")
    except EdgeqError as error:
        sweep.failures[name] = str(error)
    told = sweep.failures.get(name) or f"snapped {sweep.manifests[name]['accuracy']['snapped']:.2f} %"
    task.advance(1, f"{name}: {told}")


def _last_line(folder: Path, run: Run) -> str:
    with contextlib.suppress(OSError), (folder / f"{run.name}.log").open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else ""
    return ""


@contextlib.contextmanager
def _stopping(children: list[_Child]) -> Iterator[None]:
    """Stop what still runs when something stops us: the last epoch's checkpoint stays whole."""
    try:
        yield
    finally:
        stop([child.process for child in children])


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes that lead groups of their own as ``kill`` would, and by force what does not end.

    Not as Ctrl-C would: what a script starts in the background has SIGINT ignored, and so have its children.
    """
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    for process in processes:
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
