"""A user's own network: finding the function that ``package.module:factory`` or ``FILE.py:factory`` names."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import nn

from edgeq.errors import ModelError

__all__ = ["call_factory"]


def call_factory(reference: str) -> nn.Module:
    """Import a factory and call it without arguments.

    Args:
        reference: ``package.module:factory``, also from the current folder; or ``FILE.py:factory``, whose folder is
            importable meanwhile, as when Python runs the file.

    Raises:
        ModelError: it cannot be imported, is missing, needs arguments, raises, or returns no ``torch.nn.Module``.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise ModelError(
            "no such form of a model", got=repr(reference), wanted="package.module:factory or FILE.py:factory"
        )
    folder = Path(place).resolve().parent if place.endswith(".py") else Path.cwd()
    with _importable(folder):
        factory = _find(_import(place, reference), name, reference)
        try:
            model = factory()
        except ModelError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelError("the factory failed", where=reference, got=_told(error)) from error
    if not isinstance(model, nn.Module):
        got = type(model).__name__
        raise ModelError("the factory returned no network", where=reference, got=got, wanted="a torch.nn.Module")
    return model


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def _import(place: str, reference: str) -> ModuleType:
    try:
        return _import_file(Path(place), reference) if place.endswith(".py") else importlib.import_module(place)
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # the user's module can raise anything
        raise ModelError("the module cannot be imported", where=reference, got=_told(error)) from error


def _import_file(path: Path, reference: str) -> ModuleType:
    """Run a file under a module name of its own, so that two files of one name do not meet."""
    path = path.resolve()
    if not path.is_file():
        raise ModelError("no such file", where=reference, got=path, remedy="check the path")
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look classes up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _find(module: ModuleType, name: str, reference: str) -> Callable[[], object]:
    factory: Callable[[], object] | None = getattr(module, name, None)
    if not callable(factory):
        what = "is not callable" if hasattr(module, name) else "is not there"
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ModelError(f"{name} {what}", where=reference, wanted=f"one of {', '.join(known[:8])}" if known else None)
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        remedy = "write a function around it that takes none"
        raise ModelError("the factory needs arguments", where=reference, got=error, remedy=remedy) from error
    except ValueError:  # a builtin without a signature; the call will tell
        pass
    return factory


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
