"""Targets against the paper's Table 1, and strict reading of target and other data files."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from edgeq.cost_table import CLASSES, basis
from edgeq.errors import RecipeError
from edgeq.resources import DataKind, data_folder, data_names, find_data_file
from edgeq.targets import DataType, board_watts, list_targets, load_target, peak_ops

# Naumov et al. 2018, Table 1 as printed: GHz, W, peak Gops fp32, fp16, int8.
TABLE_1: dict[str, tuple[float, float, float | None, float | None, float | None]] = {
    "cortex-a7": (1.5, 1.5, 3, None, 12),
    "cortex-a75": (3.0, 4, 48, 96, 96),
    "tesla-t4": (1.35, 70, 8100, 16200, 130000),
}
MINIMAL = 'schema = 1\nname = "board"\ndescription = "a board"\nisa = "armv8-a"\n'

EMULATED = 'arch = "aarch64"\nqemu_cpu = "cortex-a53"\nmidr_implementer = 0x41\nmidr_part = 0xd0a\n'
PIPELINE = '[pipeline]\nissue_width = 2\nin_order = false\nsource = "a guide"\npipes = { v = ["v0"] }\n'
COSTS = PIPELINE + (
    '[[costs]]\nforms = ["sdot.q"]\ncycles = [1.0]\npipe = "v"\nsource = "a guide"\n'
    '[[costs]]\nforms = ["class:load", "class:store", "class:mac", "class:neon", "class:branch", "class:other"]\n'
    'cycles = [0.5, 1.0]\nsource = "assumed: for a test"\n'
)


def bandwidth(value: str) -> str:
    return f'bandwidth_bytes_per_s = {value}\n[sources]\nbandwidth_bytes_per_s = "x"\n'


def own_target(folder: Path, text: str) -> str:
    path = folder / "board.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", TABLE_1)
def test_figures_are_those_of_table_1(name: str) -> None:
    target = load_target(name)
    clock_ghz, watts, *gops = TABLE_1[name]
    assert target.clock_hz == pytest.approx(clock_ghz * 1e9)
    assert board_watts(target) == pytest.approx(watts)
    for data_type, expected in zip(get_args(DataType), gops, strict=True):
        peak = peak_ops(target, data_type)
        assert (None if peak is None else peak / 1e9) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("name", list_targets())
def test_every_shipped_target_loads_under_its_own_name_and_by_path(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert load_target(str(data_folder("targets") / f"{name}.toml")) == target


@pytest.mark.parametrize("name", list_targets())
def test_every_figure_of_a_shipped_target_has_a_source(name: str) -> None:
    target = load_target(name)
    instructions = [row.source for row in target.instructions.values()]
    vendor = [row.source for row in target.vendor_peaks.values()]
    costs = [row.source for row in target.costs] + ([target.pipeline.source] if target.pipeline else [])
    assert all(len(text) > 10 for text in [*target.sources.values(), *instructions, *vendor, *costs])


@pytest.mark.parametrize("name", ["cortex-a7", "cortex-a75"])
def test_an_arm_target_can_be_emulated_and_estimated(name: str) -> None:
    target = load_target(name)
    assert target.arch == ("armhf" if name == "cortex-a7" else "aarch64")
    assert target.qemu_cpu is not None
    assert (target.midr_implementer, target.midr_part) == (0x41, 0xC07 if name == "cortex-a7" else 0xD0A)
    assert target.pipeline is not None
    assert target.pipeline.in_order == (name == "cortex-a7")
    assert basis(target.sources["bandwidth_bytes_per_s"]) == "fitted"
    assert target.calibration_error is not None
    assert 0 < target.calibration_error <= 0.15
    assert {f"class:{kind}" for kind in CLASSES} <= {form for row in target.costs for form in row.forms}


def test_sdot_of_the_a75_is_a_range_and_an_assumption() -> None:
    target = load_target("cortex-a75")
    (row,) = [row for row in target.costs if "sdot.q" in row.forms]
    assert row.cycles == (0.5, 1.0)
    assert basis(row.source) == "assumed"
    instruction = target.instructions["int8_dot"]
    assert (instruction.reciprocal_throughput_low, instruction.reciprocal_throughput) == row.cycles
    assert peak_ops(target, "int8_dot") == pytest.approx(192e9)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a manual, table 3", "published"),
        ("fitted: on one row", "fitted"),
        ("assumed: as its neighbour", "assumed"),
        ("a manual; D forms assumed alike", "partly assumed"),
    ],
)
def test_a_source_says_what_a_figure_rests_on(source: str, expected: str) -> None:
    assert basis(source) == expected


def test_the_host_claims_nothing_that_was_not_measured() -> None:
    host = load_target("host")
    assert host.clock_hz is host.cores is board_watts(host) is None
    assert all(peak_ops(host, data_type) is None for data_type in get_args(DataType))


def test_ones_own_target_needs_no_python(tmp_path: Path) -> None:
    text = MINIMAL + (
        "cores = 4\nclock_hz = 1.8e9\n"
        '[sources]\ncores = "the board\'s manual"\nclock_hz = "the board\'s manual"\n'
        '[instructions.int8]\nmnemonic = "SDOT"\nlanes = 16\nreciprocal_throughput = 0.5\nsource = "a guide"\n'
    )
    assert peak_ops(load_target(own_target(tmp_path, text)), "int8") == pytest.approx(1.8e9 * 2 * 16 * 4)


def test_ones_own_costs_need_no_python(tmp_path: Path) -> None:
    target = load_target(own_target(tmp_path, MINIMAL + COSTS))
    assert [row.cycles for row in target.costs] == [(1.0,), (0.5, 1.0)]
    assert target.pipeline is not None
    assert target.pipeline.pipes == {"v": ("v0",)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL + "clock_mhz = 1500\n", "did you mean clock_hz?"),
        (MINIMAL.replace("schema = 1\n", ""), "key schema is missing"),
        (MINIMAL.replace("schema = 1", "schema = 2"), "unknown schema (got 2, wanted 1)"),
        (MINIMAL.replace("armv8-a", "armv8"), "bad value for isa"),
        (MINIMAL + 'features = ["neno"]\n', "bad value for features[0]"),
        (MINIMAL + "cores = 0\n", "must be positive"),
        (MINIMAL + "clock_hz = inf\n", "wanted a finite number"),
        (MINIMAL + "cores = true\n", "bad value for cores"),
        (MINIMAL + "cores = 2\n", "cores without a source"),
        (MINIMAL + '[sources]\ncores = "a manual"\n', "a source for a figure that is not given"),
        (MINIMAL + 'watts_per_core = 1\nboard_watts = 2\n[sources]\nboard_watts = "x"\n', "not both"),
        (
            MINIMAL + '[instructions.int8]\nmnemonic = "x"\nlanes = 8\nreciprocal_throughput = 1\nsource = "y"\n',
            "needs cores",
        ),
        (MINIMAL + '[instructions.int8]\nmnemonik = "x"\n', "did you mean instructions.int8.mnemonic?"),
        (MINIMAL + '[vendor_peaks.int4]\nops_per_s = 1e12\nops_per_mac = 2\nsource = "y"\n', "unknown data type"),
        (MINIMAL + '[vendor_peaks.int8]\nops_per_s = 1e12\nops_per_mac = 3\nsource = "y"\n', "one of 1, 2"),
        ("schema = ", "no valid TOML"),
        (MINIMAL + 'arch = "aarch64"\n', "belong together"),
        (MINIMAL + "midr_part = 0xd0a\n", "belong together"),
        (MINIMAL + EMULATED.replace("0xd0a", "0x10000"), "midr_part: out of range"),
        (MINIMAL + EMULATED.replace("cortex-a53", "cortex-a53,x=1"), "no CPU that QEMU can have"),
        (MINIMAL + 'arch = "arm64"\n', "bad value for arch"),
        (MINIMAL + "l2_byte = 1\n", "did you mean l2_bytes?"),
        (MINIMAL + "l2_bytes = 1024\n", "l2_bytes without a source"),
        (MINIMAL + bandwidth("[2e9, 1e9]"), "a lower and an upper bound"),
        (MINIMAL + bandwidth("[1e9, 2e9, 3e9]"), "a lower and an upper bound"),
        (MINIMAL + bandwidth("[0.0]"), "must be above 0"),
        (MINIMAL + bandwidth("2e9"), "bad value for bandwidth_bytes_per_s"),
        (MINIMAL + 'calibration_error = 1.5\n[sources]\ncalibration_error = "x"\n', "calibration_error: out of range"),
        (MINIMAL + COSTS.replace(PIPELINE, ""), "costs without a pipeline"),
        (MINIMAL + PIPELINE, "a pipeline without costs"),
        (MINIMAL + COSTS.replace("cycles", "cycle", 1), "did you mean costs[0].cycles?"),
        (MINIMAL + COSTS.replace("[1.0]", "[-1.0]", 1), "must be above 0"),
        (MINIMAL + COSTS.replace('pipe = "v"', 'pipe = "w"'), "unknown pipe (got 'w', wanted v)"),
        (MINIMAL + COSTS.replace('"class:load", ', ""), "wanted class:load"),
        (MINIMAL + COSTS.replace('"class:load", ', '"class:load", "sdot.q", '), "two costs for one form (got sdot.q)"),
        (MINIMAL + COSTS.replace('"a guide"', '""', 1), "without a source"),
        (MINIMAL + COSTS.replace('v = ["v0"]', "v = []"), "1 unit or more a pipe"),
        (MINIMAL + COSTS.replace("issue_width = 2", "issue_width = 0"), "pipeline.issue_width: out of range"),
    ],
)
def test_a_wrong_target_file_is_named_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = own_target(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        load_target(path)
    line = str(caught.value)
    assert expected in line
    assert line.count(path) == 1
    assert "\n" not in line


def test_an_unknown_name_gets_the_nearest_and_all_known() -> None:
    with pytest.raises(RecipeError, match=r"did you mean cortex-a75\?") as caught:
        load_target("cortex-75")
    assert all(name in str(caught.value) for name in list_targets())


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a b", "cortex-a75\n", "x" * 5000])
def test_a_hostile_bare_name_is_just_unknown(name: str) -> None:
    with pytest.raises(RecipeError, match="unknown target"):
        load_target(name)


@pytest.mark.parametrize("path", ["no/such.toml", "missing.toml", "../targets", "/"])
def test_a_path_that_is_no_file_says_so(path: str) -> None:
    with pytest.raises(RecipeError, match="no such target file"):
        load_target(path)


@pytest.mark.parametrize("kind", get_args(DataKind))
def test_names_and_files_agree(kind: DataKind) -> None:
    for name in data_names(kind):
        assert find_data_file(kind, name) == data_folder(kind) / f"{name}.toml"
