"""Training on rounded weights and activations: one row a method in ``table``, one file a method, one base class.

Nothing here exports or snaps: what a method leaves is weights that lie on an edgeq grid, and the scale of that grid.
"""
