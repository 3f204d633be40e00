"""Help of commands with many options: sorted by the part of the recipe that they set."""

from __future__ import annotations

import click

__all__ = ["SectionedCommand"]

TITLES = {
    "": "Network and device",
    "data": "Data",
    "train": "Training",
    "regularizer": "Pull towards the grid",
    "rounding": "One and two bits",
    "quantize": "Int8 artifact",
}
OTHER = "Output"
SECTIONS = {"layers": "quantize"}  # a table of its own, told with the rest


class SectionedCommand(click.Command):
    """A command that takes a recipe's options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from edgeq.cli.options import FIELDS

        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in (*TITLES.values(), OTHER)}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                path = FIELDS.get(param.name or "")
                title = OTHER if path is None else TITLES[path[0] if len(path) > 1 else SECTIONS.get(path[0], "")]
                sections[title].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
