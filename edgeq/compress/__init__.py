"""Methods that make a network smaller before its last training: one file a method, one row in the table.

A method changes a trained network (``apply``), may leave constraints that all later trainings keep, and is followed by
epochs of retraining. The periodic regularizer pulls in the last of these.
"""

from edgeq.compress.method import Constraint, Context, Method
from edgeq.compress.table import METHODS, Row, method_from_option, method_from_table

__all__ = ["METHODS", "Constraint", "Context", "Method", "Row", "method_from_option", "method_from_table"]
