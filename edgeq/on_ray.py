"""Processes of a sweep as trials of Ray Tune, on a cluster whose nodes see the sweep's folder; needs ``edgeq[ray]``.

Ray only starts them and shares out cores and devices: recipes, logs, results and what is finished are the sweep's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import ray
from ray import tune

from edgeq.errors import RecipeError
from edgeq.sweep import stop

__all__ = ["connected", "run_trials"]

STEP_S: Final = 2.0
LOST: Final = 1
CONNECT_S: Final = 10.0

Tell = Callable[[str, int | None], None]


class _Process(tune.Trainable):  # type: ignore[misc]  # Ray ships no types
    """A process of a group of its own; a step of the trial is a look at it."""

    def setup(self, config: dict[str, Any]) -> None:
        name = config["run"]
        with (Path(config["folder"]) / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *config["commands"][name]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=config["cwd"],  # where relative paths of recipes begin; Tune has a folder of its own for each trial
                start_new_session=True,
            )

    def step(self) -> dict[str, Any]:
        try:
            return {"done": True, "status": self.process.wait(STEP_S)}
        except subprocess.TimeoutExpired:
            return {"done": False}

    def cleanup(self) -> None:
        if self.process.poll() is None:
            stop([self.process])


class _Telling(tune.Callback):  # type: ignore[misc]
    """Says what became of a trial. Tune writes its callbacks to disk, whom this one tells is left out."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_result(self, iteration: int, trials: Sequence[Any], trial: Any, result: Any, **info: Any) -> None:
        self.tell(trial.config["run"], result.get("status"))

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        self.tell(trial.config["run"], LOST)


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """A connection to a cluster: ``auto`` (the one of this machine), ``HOST:PORT``, or ``local`` to start one here.

    Raises:
        RecipeError: no cluster answers there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdigit():  # Ray itself tries an address that does not answer for many minutes
            socket.create_connection((host, int(port)), CONNECT_S).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        raise RecipeError(
            "no Ray cluster answers", where="--ray", got=address, wanted="auto, local or HOST:PORT"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def run_trials(commands: Mapping[str, Sequence[str]], folder: Path, *, jobs: int, devices: bool, tell: Tell) -> None:
    """Run commands until all have ended, so many at a time.

    Args:
        commands: what each node's Python is called with, by name.
        folder: for ``NAME.log``, and ``ray`` for what Tune writes.
        jobs: at a time; the cluster's cores are shared among them.
        devices: give each a GPU where there are any.
        tell: called with a name and its exit status, or None while it runs.

    Raises:
        KeyboardInterrupt: Ctrl-C; the processes were stopped.
    """
    ended = set[str]()

    def note(name: str, status: int | None) -> None:
        if name not in ended:
            ended.update([] if status is None else [name])
            tell(name, status)

    space = {
        "run": tune.grid_search(list(commands)),
        "commands": {name: list(command) for name, command in commands.items()},
        "folder": str(folder.resolve()),
        "cwd": os.getcwd(),
    }
    with (folder / "ray.log").open("a") as log, contextlib.redirect_stdout(log):  # its tables
        tune.Tuner(
            tune.with_resources(_Process, _share(jobs, devices)),
            param_space=space,
            tune_config=tune.TuneConfig(max_concurrent_trials=jobs),
            run_config=tune.RunConfig(
                storage_path=str(folder.resolve() / "ray"),
                verbose=0,
                callbacks=[_Telling(note)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    if ended != commands.keys():
        raise KeyboardInterrupt


def _share(jobs: int, devices: bool) -> dict[str, float]:
    """What of the cluster belongs to one of so many processes; each is on one node."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = sum(node.get("CPU", 0) for node in nodes) // jobs
    share = {"cpu": max(1, min(cores, max(node.get("CPU", 0) for node in nodes)))}
    return share | ({"gpu": 1} if devices and any(node.get("GPU", 0) >= 1 for node in nodes) else {})
