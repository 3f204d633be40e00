from __future__ import annotations

import pytest

from edgeq.tflite.model import Operator


def test_a_renumbered_operation_keeps_what_is_left_out_and_all_else() -> None:
    operator = Operator("CONV_2D", (7, 3, -1), (9,), options="options", version=3)
    assert operator.renumbered({3: 0, 7: 1, 9: 2}) == Operator("CONV_2D", (1, 0, -1), (2,), "options", 3)
    with pytest.raises(KeyError):
        operator.renumbered({3: 0, 7: 1})
