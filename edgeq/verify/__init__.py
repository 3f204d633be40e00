"""Proof: the same images through every runtime, compared in codes, and the integers of every file compared byte for
byte.

:mod:`edgeq.verify.report` has what is found, and loads no runtime; :mod:`edgeq.verify.check` finds it.
"""
