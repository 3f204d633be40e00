from __future__ import annotations

from bench_results import lane, operation

from edgeq.bench.compare import compare_lanes, costliest


def test_an_extra_operation_stands_alone_and_costs() -> None:
    first = lane([operation("CONV_2D", 500, macs=9), operation("ADD", 50), operation("CONV_2D", 400, macs=7)])
    second = lane(
        [
            operation("CONV_2D", 500, macs=9),
            operation("TRANSPOSE", 300, name="turned"),
            operation("ADD", 55),
            operation("CONV_2D", 400, macs=7),
        ]
    )
    pairs = compare_lanes(first, second)
    assert [(pair.name, pair.instructions) for pair in pairs] == [
        ("CONV_2D conv_2d", 0),
        ("TRANSPOSE turned", 300),
        ("ADD add", 5),
        ("CONV_2D conv_2d", 0),
    ]
    worst = costliest(pairs)
    assert worst is not None
    assert (worst.first, worst.second) == (None, second.operations[1])
    back = costliest(compare_lanes(second, first))
    assert back is not None
    assert back.instructions == -300


def test_equal_files_have_no_costliest_operation() -> None:
    one = lane([operation("CONV_2D", 500, macs=9)])
    assert costliest(compare_lanes(one, one)) is None
    assert costliest([]) is None


def test_layers_of_other_sizes_are_not_matched() -> None:
    pairs = compare_lanes(lane([operation("CONV_2D", 5, macs=9)]), lane([operation("CONV_2D", 7, macs=8)]))
    assert [(pair.first is None, pair.second is None) for pair in pairs] == [(False, True), (True, False)]
