"""The paper's tables, computed and trained again, and the comparison of methods that it has not.

Source: Naumov et al. 2018, "On Periodic Functions as Regularizers for Quantization of Neural Networks".
"""

from __future__ import annotations

from edgeq.reproduce.methods import Comparison, ComparisonRow, compare_methods
from edgeq.reproduce.table1 import PeakRow, Table1, Table1Row, reproduce_table1
from edgeq.reproduce.table2 import Setting, Table2, Table2Row, reproduce_table2

__all__ = [
    "Comparison",
    "ComparisonRow",
    "PeakRow",
    "Setting",
    "Table1",
    "Table1Row",
    "Table2",
    "Table2Row",
    "compare_methods",
    "reproduce_table1",
    "reproduce_table2",
]
