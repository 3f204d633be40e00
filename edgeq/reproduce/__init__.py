"""The paper's tables, computed and trained again.

Source: Naumov et al. 2018, "On Periodic Functions as Regularizers for Quantization of Neural Networks".
"""

from __future__ import annotations

from edgeq.reproduce.table1 import PeakRow, Table1, Table1Row, reproduce_table1

__all__ = ["PeakRow", "Table1", "Table1Row", "reproduce_table1"]
