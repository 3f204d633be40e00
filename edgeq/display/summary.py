"""A result in tables and lines, and that as plain text, for rich, or as HTML."""

from __future__ import annotations

import abc
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Result", "Summary", "Table", "as_html", "as_rich", "as_text", "table"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text.

    Attributes:
        columns: the names above them; all empty for none.
        rows: each as long as ``columns``.
        title: above the table; may be empty.
        right: columns that are aligned right, such as numbers.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    right: frozenset[int] = frozenset()


Summary = tuple[Table | str, ...]
"""Tables and lines in the order they are shown."""


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: set[int] | None = None) -> Table:
    """A :class:`Table` of any sequences."""
    return Table(tuple(columns), tuple(map(tuple, rows)), title, frozenset(right or ()))


class Result(abc.ABC):
    """What a public function returns: shown as tables in a terminal and a notebook, and given away as JSON."""

    __slots__ = ()

    @abc.abstractmethod
    def summary(self) -> Summary:
        """The tables and lines that the command prints."""

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """What the command prints with ``--json``: strings, numbers, lists and dicts."""

    def to_json(self, *, indent: int | None = 2) -> str:
        """:meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=indent)

    def __str__(self) -> str:
        return as_text(self.summary())

    def __rich__(self) -> RenderableType:
        return as_rich(self.summary())

    def _repr_html_(self) -> str:
        return as_html(self.summary())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For IPython in a terminal."""
        printer.text(type(self).__name__ if cycle else str(self))


def as_text(summary: Summary) -> str:
    """Columns of plain text, an empty line above a title."""
    text = "\n".join(_above(part) + _table_text(part) if isinstance(part, Table) else part for part in summary)
    return text.removeprefix("\n")


def _above(part: Table) -> str:
    return "\n" if part.title else ""


def _table_text(part: Table) -> str:
    lines = [part.columns, *part.rows] if any(part.columns) else list(part.rows)
    widths = [max((len(row[i]) for row in lines), default=0) for i in range(len(part.columns))]
    shown = [part.title] if part.title else []
    for row in lines:
        cells = [
            cell.rjust(width) if i in part.right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)


def as_rich(summary: Summary) -> RenderableType:
    """Drawn tables, for a :class:`rich.console.Console`."""
    from rich.console import Group
    from rich.text import Text

    return Group(*(_table_rich(part) if isinstance(part, Table) else Text(part) for part in summary))


def _table_rich(part: Table) -> RenderableType:
    from rich import box
    from rich import table as rich_table
    from rich.text import Text

    drawn = rich_table.Table(
        title=Text(part.title) if part.title else None,
        title_justify="left",
        header_style="bold",
        show_header=any(part.columns),
        box=box.SIMPLE_HEAD,
    )
    for i, name in enumerate(part.columns):
        drawn.add_column(Text(name), justify="right" if i in part.right else "left", overflow="fold")
    for row in part.rows:
        drawn.add_row(*map(Text, row))
    return drawn


def as_html(summary: Summary) -> str:
    """Tables and paragraphs that take a notebook's own style; all text is escaped."""
    parts = [_table_html(part) if isinstance(part, Table) else f"<p>{html.escape(part)}</p>" for part in summary]
    return f'<div class="edgeq-result">{"".join(parts)}</div>'


def _table_html(part: Table) -> str:
    caption = f"<caption>{html.escape(part.title)}</caption>" if part.title else ""
    head = f"<thead><tr>{_cells(part, part.columns, 'th')}</tr></thead>" if any(part.columns) else ""
    body = "".join(f"<tr>{_cells(part, row, 'td')}</tr>" for row in part.rows)
    return f"<table>{caption}{head}<tbody>{body}</tbody></table>"


def _cells(part: Table, row: tuple[str, ...], tag: str) -> str:
    sides = ("right" if i in part.right else "left" for i in range(len(row)))
    return "".join(
        f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>' for side, cell in zip(sides, row, strict=True)
    )
