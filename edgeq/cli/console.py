"""Results on stdout: drawn on a terminal, plain text elsewhere."""

from __future__ import annotations

import sys

import click

from edgeq.display.summary import Result, Summary, as_rich, as_text, table
from edgeq.display.terminal import wants_drawing

__all__ = ["print_result", "print_summary", "print_table"]


def print_result(result: Result, *, as_json: bool) -> None:
    """What a command found: one JSON document, or its tables and lines."""
    if as_json:
        click.echo(result.to_json())
    else:
        print_summary(result.summary())


def print_table(title: str, columns: list[str], rows: list[list[str]], *, right: set[int] | None = None) -> None:
    """One table."""
    print_summary((table(title, columns, rows, right=right),))


def print_summary(summary: Summary) -> None:
    """Tables and lines."""
    if wants_drawing(sys.stdout):
        from rich.console import Console

        Console(highlight=False).print(as_rich(summary))
    else:
        click.echo(as_text(summary))
