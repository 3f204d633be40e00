"""The paper's tables and figures, computed and trained again, and the comparisons that it has not.

Source: Naumov et al. 2018, "On Periodic Functions as Regularizers for Quantization of Neural Networks".
"""

from __future__ import annotations

from edgeq.reproduce.comparison import Claim, Comparison, ComparisonRow, StorageRow
from edgeq.reproduce.compression import compare_compression
from edgeq.reproduce.compression_table import CompressionRow, CompressionTable, Instructions
from edgeq.reproduce.figures import Figures, reproduce_figures
from edgeq.reproduce.methods import compare_methods
from edgeq.reproduce.table1 import PeakRow, Table1, Table1Row, reproduce_table1
from edgeq.reproduce.table2 import Setting, Table2, Table2Row, reproduce_table2
from edgeq.reproduce.table3 import Cell, Table3, Table3Row, reproduce_table3

__all__ = [
    "Cell",
    "Claim",
    "Comparison",
    "ComparisonRow",
    "CompressionRow",
    "CompressionTable",
    "Figures",
    "Instructions",
    "PeakRow",
    "Setting",
    "StorageRow",
    "Table1",
    "Table1Row",
    "Table2",
    "Table2Row",
    "Table3",
    "Table3Row",
    "compare_compression",
    "compare_methods",
    "reproduce_figures",
    "reproduce_table1",
    "reproduce_table2",
    "reproduce_table3",
]
