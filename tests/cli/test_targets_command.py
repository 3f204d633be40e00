"""``edgeq targets show`` with all that a device's file can hold."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from edgeq.cli.targets import command
from edgeq.targets import list_targets, load_target


@pytest.mark.parametrize("name", list_targets())
def test_every_figure_is_shown_with_its_source(name: str) -> None:
    ended = CliRunner().invoke(command, ["show", name])
    assert ended.exit_code == 0, ended.output
    target = load_target(name)
    assert target.description in ended.stdout
    for figure, source in target.sources.items():
        assert f"{figure} " in ended.stdout
        assert source in ended.stdout
    sources = [row.source for row in target.instructions.values()]
    sources += [row.source for row in target.vendor_peaks.values()]
    assert all(source in ended.stdout for source in sources)
    for cost in target.costs:
        assert cost.forms[0] in ended.stdout


def test_a_range_is_shown_as_one_and_a_part_number_in_hex() -> None:
    ended = CliRunner().invoke(command, ["show", "cortex-a75"])
    lines = [" ".join(line.split()) for line in ended.stdout.splitlines()]
    assert "sdot.q, udot.q 0.5 to 1 vector assumed" in lines
    assert "midr_implementer 0x41" in lines
    assert any(line.startswith("midr_part 0xd0a ") for line in lines)


def test_the_json_has_each_cost_with_its_source() -> None:
    ended = CliRunner().invoke(command, ["show", "cortex-a7", "--json"])
    found = json.loads(ended.stdout)
    assert len(found["costs"]) == len(load_target("cortex-a7").costs)
    assert all(row["source"] and row["cycles"] for row in found["costs"])
    assert found["pipeline"]["in_order"] is True


def test_the_group_alone_takes_the_options_of_list() -> None:
    alone = CliRunner().invoke(command, ["--json"])
    assert alone.exit_code == 0, alone.output
    assert json.loads(alone.stdout) == json.loads(CliRunner().invoke(command, ["list", "--json"]).stdout)
    ended = CliRunner().invoke(command, ["--json", "show", "cortex-a75"])
    assert ended.exit_code == 2
    assert "after show" in ended.stderr
