"""The ``edgeq`` command: finds subcommands without importing them, and turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import sys
import threading
from signal import SIG_DFL, SIGHUP, SIGINT, SIGTERM, getsignal, signal
from typing import TYPE_CHECKING, Any

import click

from edgeq import __version__
from edgeq.cli.groups import SuggestingGroup
from edgeq.display.terminal import colour_setting
from edgeq.errors import EdgeqError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["main"]

# In the order of the flow. A command's module is imported when it is called or asked for help; the summary stands here
# so that `edgeq --help` need not import any.
COMMANDS = {
    "build": "Train, export and verify: images in, a verified int8 TFLite and ONNX out.",
    "train": "Train a network onto its grid; stop there.",
    "export": "Any PyTorch network to int8 TFLite and ONNX.",
    "quantize": "A float ONNX model to int8 TFLite and ONNX (post-training).",
    "convert": "A QDQ or QOperator ONNX model to int8 TFLite, codes and scales kept.",
    "pack": "A .tflite, or a build's, as a small package that unpacks to the very same bytes.",
    "unpack": "The .tflite file in a package, byte for byte.",
    "verify": "Check a build again, in every runtime.",
    "sensitivity": "Which layer costs how much: one layer quantized at a time, and all but one.",
    "search-bits": "The fewest bits of weights and data by layer that keep a network's accuracy.",
    "accumulators": "How wide the accumulators of an int8 file must be: proved, and tried narrower.",
    "bench": "What an artifact costs on a device: counted and estimated under QEMU, or measured on a board.",
    "peak": "NEON peak loops: counted under QEMU, or measured on one core of a board.",
    "report": "Draw report.html of a finished build or export again, with what a bench found.",
    "inspect": "Operations, tensors, grids and sizes of a .tflite, .onnx or .edgeqpack file.",
    "reproduce": "The paper's tables and figures, computed again.",
    "targets": "List the devices edgeq knows, or show one.",
    "doctor": "Say what is installed, what is missing and what that costs.",
    "completion": "A shell script that completes commands, options and names on TAB.",
}


class _TerminatedError(KeyboardInterrupt):
    """``kill``, a scheduler's time limit, a terminal that closed: whatever tidies up for Ctrl-C does so for these."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class _InterruptError(Exception):
    """Ctrl-C and the like. click would print an empty line for a KeyboardInterrupt and forget what it was."""

    def __init__(self, cause: KeyboardInterrupt) -> None:
        how, number = ("terminated", cause.number) if isinstance(cause, _TerminatedError) else ("interrupted", SIGINT)
        self.code = 128 + number
        super().__init__(how, *getattr(cause, "__notes__", ["nothing was changed"]))


class _Commands(SuggestingGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edgeq.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _InterruptError(error) from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Without an import of any command."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=about) for name, about in COMMANDS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  edgeq build --bits 8 --target cortex-a75
  edgeq build --help
  eval "$(edgeq completion bash)"\n""",
)
@click.version_option(__version__, message="edgeq %(version)s")
def cli() -> None:
    """A PyTorch vision model to a verified int8 artifact on ARM, with every trained integer kept."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 an error told in one line, 2 usage, 130 interrupted, 143 terminated."""
    threading.excepthook = _thread_error
    for number in (SIGTERM, SIGHUP):
        if getsignal(number) is SIG_DFL:  # nohup has SIGHUP ignored
            signal(number, _terminate)
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks is no reason to fail
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run(args))


def _terminate(number: int, _frame: object) -> None:
    raise _TerminatedError(number)


def _thread_error(hook: threading.ExceptHookArgs) -> None:
    """A disk that is full stops TensorBoard's writing thread, too; the main thread tells it in one line."""
    if not issubclass(hook.exc_type, OSError):
        threading.__excepthook__(hook)


def _run(args: list[str] | None) -> int:
    try:
        result: Any = cli.main(args, prog_name="edgeq", standalone_mode=False, color=colour_setting())
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except EdgeqError as error:
        return _fail(str(error), 1)
    except _InterruptError as error:
        return _fail("; ".join(error.args), error.code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", 128 + SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again at exit
        return 1
    except OSError as error:
        return _fail(_os_error_line(error), 1)
    except MemoryError:
        return _fail("not enough memory; use smaller images, a smaller --batch-size or fewer calibration samples", 1)


def _os_error_line(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{where}the disk is full; nothing was changed, free some space or choose another --out"
    return " ".join(f"{where}{error.strerror or error}".split())


def _fail(line: str, code: int) -> int:
    with contextlib.suppress(OSError):
        click.echo(f"{click.style('edgeq: error:', fg='red', bold=True)} {line}", err=True, color=colour_setting())
    return code
