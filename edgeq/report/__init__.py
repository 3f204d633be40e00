"""The report: one self-contained HTML page about a build. :mod:`edgeq.report.page` is the way in."""
