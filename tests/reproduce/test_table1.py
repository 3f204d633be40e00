"""Table 1 of the paper, computed from the targets' figures, against what is printed; and the same counted alike."""

from __future__ import annotations

import pytest

from edgeq.reproduce import PeakRow, Table1, reproduce_table1

# Naumov et al. 2018, Table 1: GHz, W, and peak Gops in fp32, fp16, int8.
PRINTED: dict[str, tuple[float, float, float, float | None, float]] = {
    "cortex-a7": (1.5, 1.5, 3, None, 12),
    "cortex-a75": (3.0, 4, 48, 96, 96),
    "tesla-t4": (1.35, 70, 8100, 16200, 130000),
}


@pytest.fixture(scope="module")
def table() -> Table1:
    return reproduce_table1()


def corrected(table: Table1) -> dict[tuple[str, str], PeakRow]:
    return {(row.target, row.data_type): row for row in table.corrected}


def test_every_printed_figure_is_the_papers(table: Table1) -> None:
    assert [row.target for row in table.printed] == list(PRINTED)
    for row in table.printed:
        ghz, watts, *gops = PRINTED[row.target]
        assert row.ghz == pytest.approx(ghz)
        assert row.watts == pytest.approx(watts)
        assert list(row.gops.values()) == [None if value is None else pytest.approx(value) for value in gops]
        assert list(row.gops) == ["fp32", "fp16", "int8"]


def test_every_printed_cell_has_a_row_that_counts_two_operations_a_mac(table: Table1) -> None:
    rows = corrected(table)
    for row in table.printed:
        for data_type, printed in row.gops.items():
            if printed is None:
                assert (row.target, data_type) not in rows
                continue
            found = rows[row.target, data_type]
            assert found.gops == pytest.approx(2 * found.gmacs)
            assert found.gmacs == pytest.approx(printed / 2 if row.target == "tesla-t4" else printed)
            assert found.printed_gops == pytest.approx(printed)
            assert row.watts is not None
            assert found.gops_per_watt == pytest.approx(found.gops / row.watts)


def test_sdot_is_four_times_a_lane_and_beside_the_papers_rows(table: Table1) -> None:
    rows = corrected(table)
    sdot, smlal = rows["cortex-a75", "int8_dot"], rows["cortex-a75", "int8"]
    assert sdot.printed_gops is None
    assert sdot.gmacs == pytest.approx(3.0 * 16 * 4)  # GHz, MACs an instruction, cores; one a cycle
    assert sdot.gmacs_high == pytest.approx(2 * sdot.gmacs)  # two a cycle
    assert sdot.gmacs == pytest.approx(2 * smlal.gmacs)
    assert [row.data_type for row in table.corrected].count("int8_dot") == 1


def test_a_figure_without_doubt_has_no_range(table: Table1) -> None:
    for row in table.corrected:
        assert row.gops_high == pytest.approx(row.gops) or row.data_type == "int8_dot"
        assert row.source
