"""``edgeq completion``, and the names that other commands complete."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

__all__ = [
    "command",
    "complete_calibration",
    "complete_data",
    "complete_model",
    "complete_target",
    "complete_via",
    "model_names",
]

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_EDGEQ_COMPLETE"


@click.command(
    "completion",
    epilog="""\b
Examples:
  echo 'eval "$(edgeq completion bash)"' >> ~/.bashrc
  echo 'eval "$(edgeq completion zsh)"' >> ~/.zshrc
  edgeq completion fish > ~/.config/fish/completions/edgeq.fish""",
)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """A shell script that completes commands, options and names on TAB."""
    from edgeq.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None  # click has all of SHELLS
    script = kind(cli, {}, "edgeq", VARIABLE)
    click.echo(kind.source_template % script.source_vars())  # source() would start the shell to ask its version


def complete_target(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of targets, or files."""
    from edgeq.resources import data_names

    return _names_or_files(data_names("targets"), incomplete)


def complete_calibration(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of calibration recipes, or files."""
    from edgeq.resources import data_names

    return _names_or_files(data_names("calibration"), incomplete)


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of built-in networks, or files."""
    return _names_or_files(model_names(), incomplete)


def model_names() -> list[str]:
    """The keys of ``edgeq.models.MODELS``, read from its source: an import would bring torch, which takes seconds."""
    import ast

    source = Path(__file__).parents[1] / "models" / "create.py"
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "MODELS":
            (table,) = [part for part in ast.walk(node) if isinstance(part, ast.Dict)]
            return [key.value for key in table.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return []


def complete_data(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """``digits``, ``sums``, or files."""
    return _names_or_files(["digits", "sums"], incomplete)


def complete_via(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ways to a device."""
    return [CompletionItem(name) for name in ("qemu", "local", "ssh://", "adb") if name.startswith(incomplete)]


def _names_or_files(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """A shell shows either names or files: the latter where no name fits."""
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]
