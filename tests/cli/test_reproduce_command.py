"""``edgeq reproduce table1`` as a person and as a program reads it."""

from __future__ import annotations

import json

from click.testing import CliRunner

from edgeq.cli.reproduce import command


def test_the_json_holds_the_papers_figures_and_the_corrected_ones() -> None:
    ended = CliRunner().invoke(command, ["table1", "--json"])
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    gops = {row["target"]: list(row["gops"].values()) for row in found["printed"]}
    assert gops == {"cortex-a7": [3, None, 12], "cortex-a75": [48, 96, 96], "tesla-t4": [8100, 16200, 130000]}
    assert {row["data_type"] for row in found["corrected"]} == {"fp32", "fp16", "int8", "int8_dot"}
    assert found["notes"]


def test_the_table_has_both_parts_side_by_side() -> None:
    ended = CliRunner().invoke(command, ["table1"])
    assert ended.exit_code == 0, ended.output
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert ["cortex-a7", "2", "1.5", "1.5", "3", "-", "12"] in lines
    assert ["cortex-a75", "4", "3", "4", "48", "96", "96"] in lines
    assert ["tesla-t4", "-", "1.35", "70", "8100", "16200", "130000"] in lines
    assert "192 to 384" in ended.stdout
    assert "two operations a multiply-accumulate" in ended.stdout


def test_the_group_alone_explains_itself() -> None:
    ended = CliRunner().invoke(command, ["--help"])
    assert ended.exit_code == 0
    assert "table1" in ended.stdout
