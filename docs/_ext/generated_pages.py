"""What pages take from the code when the site is built: a line ``<!-- generated: NAME -->`` becomes Markdown.

``commands`` is the command line as click knows it, ``targets`` the devices of ``targets/*.toml``,
``compression`` and ``rounding`` the tables of compression methods and of those of one and two bits. Nothing is copied
into the repository, so nothing can be out of date.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

import edgeq
from edgeq.cli.main import COMMANDS, cli
from edgeq.compress import METHODS
from edgeq.cost_table import basis
from edgeq.rounding.table import METHODS as ROUNDING_METHODS
from edgeq.targets import Target, list_targets, load_target

__all__ = ["PAGES", "commands", "compression", "setup", "targets"]

_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", _fill)
    app.connect("autodoc-before-process-signature", _import_types)
    app.connect("missing-reference", _public_name)
    app.connect("autodoc-process-docstring", _join_names, priority=400)  # before napoleon, which has 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill(app: Any, page: str, source: list[str]) -> None:
    source[0] = _MARK.sub(lambda mark: PAGES[mark[1]](), source[0])


_typed: set[str] = set()


def _import_types(app: Any, function: Any, bound: bool) -> None:
    """What a module imports for its annotations only (``if TYPE_CHECKING``), so that they can be read and linked."""
    names: dict[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
    module = str(names.get("__name__"))
    if not module.startswith("edgeq") or module in _typed:
        return
    _typed.add(module)
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), module, "exec"), names)


def _join_names(app: Any, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """``a, b: text`` of an Attributes section: napoleon would take the first for the type of the second."""
    lines[:] = [re.sub(r"^ +\w+(?:, \w+)+(?=: )", lambda names: names[0].replace(", ", ","), line) for line in lines]


def _public_name(app: Any, env: Any, node: Any, content: Any) -> Any:
    """``edgeq.snap.save_grid``, where it is defined, leads to ``edgeq.save_grid``, where it is documented."""
    name = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") != "py" or not node["reftarget"].startswith("edgeq.") or name not in edgeq.__all__:
        return None
    page, builder = node.get("refdoc"), app.builder
    return env.domains["py"].resolve_xref(env, page, builder, node["reftype"], f"edgeq.{name}", node, content)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


# --- commands -----------------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command in the order of the flow: what it does, how it is called, its options, examples."""
    context = click.Context(cli, info_name="edgeq")
    rows = [[f"[`{name}`](#edgeq-{name})", text] for name, text in COMMANDS.items()]
    parts = [_table(["command", "what"], rows)]
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        parts += _command(command, click.Context(command, parent=context, info_name=name), level=2)
    return "\n".join(parts)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}\n"
    yield inspect.cleandoc(command.help or "").replace("\b\n", "") + "\n"
    yield f"```text\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```\n"
    records = [record for option in _options(command) if (record := option.get_help_record(context)) is not None]
    if records:
        yield _table(["option", "what"], [[f"`{flags}`", _escaped(text)] for flags, text in records])
    if command.epilog is not None:
        examples = re.sub(r"\A\s*Examples?:(?: +|\n)", "", command.epilog.replace("\b\n", ""))
        yield f"```bash\n{textwrap.dedent(examples)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, click.Context(inner, parent=context, info_name=name), level + 1)


def _options(command: click.Command) -> list[click.Option]:
    """Without ``--help``, which every command has."""
    return [item for item in command.params if isinstance(item, click.Option) and not item.hidden]


def _escaped(text: str) -> str:
    return re.sub(r"([\[\]<>*_])", r"\\\1", text)


# --- targets ------------------------------------------------------------------------------------------------------

_IN_TABLES = {"schema", "name", "description", "instructions", "vendor_peaks", "pipeline", "costs", "sources"}


def targets() -> str:
    """Every device that ships: its figures and peak rates, each with its source, and what its costs rest on."""
    return "\n".join(part for name in list_targets() for part in _target(load_target(name)))


def _target(target: Target) -> Iterator[str]:
    yield f"## {target.name}\n\n{target.description}.\n"
    given = [item.name for item in dataclasses.fields(target) if item.name not in _IN_TABLES]
    figures = [(name, getattr(target, name)) for name in given]
    rows = [
        [f"`{name}`", _shown(name, value), target.sources.get(name, "")]
        for name, value in figures
        if value not in (None, (), 0)
    ]
    yield _table(["figure", "value", "source"], rows)
    peaks = [
        [
            key,
            f"`{row.mnemonic}`",
            str(row.lanes),
            _span(row.reciprocal_throughput_low, row.reciprocal_throughput),
            row.source,
        ]
        for key, row in target.instructions.items()
    ]
    peaks += [[key, "", "", f"{row.ops_per_s / 1e9:g} Gops", row.source] for key, row in target.vendor_peaks.items()]
    if peaks:
        yield _table(["peak", "instruction", "lanes", "cycles", "source"], peaks)
    if target.pipeline is not None:
        order = "in order" if target.pipeline.in_order else "out of order"
        counts = Counter(basis(row.source) for row in target.costs)
        shares = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
        yield f"Begins {target.pipeline.issue_width} instructions a cycle, {order} ({target.pipeline.source}).\n"
        yield f"Costs of instructions: {len(target.costs)} rows, {shares}; see `edgeq targets show {target.name}`.\n"


def _span(low: float | None, high: float) -> str:
    return f"{high:g}" if low is None or low == high else f"{low:g} to {high:g}"


def _shown(name: str, value: object) -> str:
    if name in ("midr_implementer", "midr_part"):
        return f"`{value:#x}`"
    if isinstance(value, tuple):
        return (" to " if isinstance(value[0], float) else ", ").join(_shown(name, item) for item in value)
    if name == "clock_hz" and isinstance(value, int | float):
        return f"{value / 1e9:g} GHz"
    if name.startswith("bandwidth") and isinstance(value, int | float):
        return f"{value / 1e9:g} GB/s"
    return f"{value:,}" if isinstance(value, int) else str(value)


# --- compression methods ------------------------------------------------------------------------------------------


def compression() -> str:
    """Every compression method: what it does, what its tests show, where it is from."""
    rows = [[f"[`{name}`]({name}.md)", row.does, row.shows, row.source] for name, row in METHODS.items()]
    return _table(["method", "what it does", "what its tests show", "source"], rows)


def rounding() -> str:
    """Every method of one and two bits: weights, what layers read, first and last layer, where it is from."""
    reads = {"": "8 bits", "sign": "signs", "levels": "levels from 0 to 1"}
    rows = [
        [
            f"[`{name}`]({name}.md)",
            row.weights.replace("|", "\\|").replace("+-", "±"),
            reads[row.activations],
            f"{row.ends} bits" if row.ends else "as the others",
            row.shows.replace("|", "\\|"),
            row.paper,
        ]
        for name, row in ROUNDING_METHODS.items()
    ]
    return _table(["method", "weights", "layers read", "first and last layer", "what its tests show", "source"], rows)


PAGES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "targets": targets,
    "compression": compression,
    "rounding": rounding,
}
