"""The peak loops: nearly all multiply-accumulates under QEMU; on a device, rates and what can go wrong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from needs import needs_qemu

from edgeq.bench import peak as module
from edgeq.bench.peak import LOOPS, MIN_SHARE, PeakLoop, count_loop, loops_of, measure_loop
from edgeq.bench.transport.channel import Channel
from edgeq.bench.transport.shell import Completed, ShellTransport
from edgeq.cli.peak import command
from edgeq.errors import EdgeqError, RecipeError
from edgeq.targets import list_targets, load_target

A75 = load_target("cortex-a75")
SDOT = next(loop for loop in LOOPS if loop.data_type == "int8_dot")


def shipped_loops() -> list[tuple[str, PeakLoop]]:
    targets = [load_target(name) for name in list_targets()]
    return [(target.name, loop) for target in targets if target.arch for loop in loops_of(target)]


def test_loops_follow_the_target_s_file() -> None:
    for name in list_targets():
        target = load_target(name)
        if target.arch is not None:
            assert {loop.data_type for loop in loops_of(target)} == set(target.instructions)
    without = dataclasses.replace(A75, instructions={"fp32": A75.instructions["fp32"]})
    assert [loop.name for loop in loops_of(without)] == ["fmla-f32"]


def test_a_loop_does_as_many_multiply_accumulates_as_its_target_says() -> None:
    for name, loop in shipped_loops():
        assert loop.macs == load_target(name).instructions[loop.data_type].lanes


def test_no_two_loops_are_for_the_same() -> None:
    assert len({(loop.arch, loop.data_type) for loop in LOOPS}) == len(LOOPS)
    assert len({loop.name for loop in LOOPS}) == len(LOOPS)


def test_a_target_without_loops_says_why() -> None:
    with pytest.raises(RecipeError, match="tesla-t4: the target's file states no peak that a loop could show"):
        loops_of(load_target("tesla-t4"))


@needs_qemu
@pytest.mark.parametrize(("target", "loop"), shipped_loops(), ids=lambda value: getattr(value, "name", value))
def test_nearly_all_instructions_are_the_loop_s_own(target: str, loop: PeakLoop) -> None:
    found = count_loop(loop, load_target(target))
    assert found.share >= MIN_SHARE
    assert found.mac_instructions % 1000 == 0  # 1000 turns, each the same
    assert count_loop(loop, load_target(target)) == found


@needs_qemu
def test_sdot_on_a_cpu_without_it_is_one_line() -> None:
    with pytest.raises(
        EdgeqError, match=r"target cortex-a75, sdot\.q: illegal instruction \(SIGILL\).*cortex-a53"
    ) as caught:
        count_loop(SDOT, dataclasses.replace(A75, qemu_cpu="cortex-a53"))
    assert "\n" not in str(caught.value)


@needs_qemu
def test_the_command_counts_and_tells_no_time() -> None:
    done = CliRunner().invoke(command, ["--target", "cortex-a7", "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert told["target"] == "cortex-a7"
    assert [row["loop"] for row in told["loops"]] == ["vmla-f32", "vmlal-s8"]
    assert all(row["share"] >= MIN_SHARE for row in told["loops"])
    assert {key for row in told["loops"] for key in row} == {
        "loop",
        "instruction",
        "instructions",
        "mac_instructions",
        "share",
    }


# --- on a device ------------------------------------------------------------------------------------------------------


class Board(ShellTransport):
    """A core of 1 GHz that starts one instruction a cycle, with no time for anything else."""

    def __init__(self, machine: str = "aarch64", answer: Completed | None = None) -> None:
        super().__init__("board", "")
        self.machine, self.answer = machine, answer
        self.turns: list[int] = []

    def _connect(self) -> None: ...

    def _disconnect(self) -> None: ...

    def _start(self, command: str) -> Channel:
        raise AssertionError(command)

    def push(self, local: Path, name: str | None = None) -> str:
        return f"/there/{local.name}"

    def run(self, argv: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None) -> Completed:
        if argv[0] == "uname":
            return said(f"{self.machine}\n")
        if self.answer is not None:
            return self.answer
        _, name, turns, runs = argv
        self.turns.append(int(turns))
        instructions = 128 * int(turns)
        return said(json.dumps({"name": name, "instructions": instructions, "ns": [instructions] * int(runs)}))


def said(stdout: str) -> Completed:
    return Completed(0, stdout, "")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "build_peak", lambda loop: Path(f"peak_{loop.arch}"))


@pytest.mark.usefixtures("no_compiler")
def test_rates_are_multiply_accumulates_a_second_of_one_core() -> None:
    board = Board()
    found = measure_loop(SDOT, A75, board)
    assert found.gmacs == found.gmacs_low == found.gmacs_high == pytest.approx(16.0)  # 1 GHz, 16 a cycle
    assert found.peak_gmacs == pytest.approx(48.0)  # 3 GHz, 16 a cycle: targets/cortex-a75.toml
    assert found.share == pytest.approx(1 / 3)
    assert board.turns[-1] * 128 == pytest.approx(200e6, rel=0.01)  # runs of 0.2 s


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("machine", ["x86_64", "armv7l", ""])
def test_another_machine_is_refused_before_anything_is_copied(machine: str) -> None:
    board = Board(machine)
    with pytest.raises(EdgeqError, match="another machine than the target"):
        measure_loop(SDOT, A75, board)
    assert board.turns == []


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Completed(132, "", ""), r"the device's CPU cannot run sdot\.q"),
        (Completed(1, "", "usage: LOOP TURNS RUNS\n"), "the peak loop failed .*usage"),
        (said("nothing"), "is not understood"),
        (said("[]"), "is not understood"),
        (said('{"name": "fmla-f32", "instructions": 1, "ns": [1]}'), "is not understood"),
        (said('{"name": "sdot-s8", "instructions": 128, "ns": [0]}'), "is not understood"),
        (said('{"name": "sdot-s8", "instructions": 128, "ns": 7}'), "is not understood"),
    ],
)
def test_an_answer_that_is_none_is_one_line(answer: Completed, message: str) -> None:
    with pytest.raises(EdgeqError, match=message) as caught:
        measure_loop(SDOT, A75, Board(answer=answer))
    assert "\n" not in str(caught.value)
