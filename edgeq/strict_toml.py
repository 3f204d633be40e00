"""Strict TOML: files from outside to frozen dataclasses and back; an unknown key is an error that names the nearest."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from edgeq.errors import RecipeError

__all__ = ["dataclass_to_toml", "read_toml", "require", "table_to_dataclass", "toml_value"]

MAX_TOML_BYTES = 1 << 20

_TOML_NAMES = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "an array",
    dict: "a table",
}

_T = TypeVar("_T")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file from outside.

    Raises:
        RecipeError: it cannot be read, is larger than 1 MiB, or is no TOML.
    """
    try:
        if path.stat().st_size > MAX_TOML_BYTES:
            raise RecipeError("too large for a TOML file", where=path, wanted=f"at most {MAX_TOML_BYTES} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError("cannot be read", where=path, got=error.strerror) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError("is no valid TOML", where=path, got=error) from error


def require(fits: bool, key: str, value: object, wanted: str) -> None:
    """Raise for a value that a dataclass read from TOML cannot take.

    Raises:
        RecipeError: it does not fit; the message has key, value and what is wanted.
    """
    if not fits:
        raise RecipeError("out of range", where=key, got=value, wanted=wanted)


def table_to_dataclass(cls: type[_T], table: dict[str, Any], *, where: str, prefix: str = "") -> _T:
    """Fill a dataclass from a TOML table, strictly.

    Args:
        cls: a dataclass whose fields are str, int, float, bool, Literal, ``X | None``, tuples of these, dicts of
            strings to one of these, unions of plain types and a dataclass, named tuples, dataclasses, or classes that
        make themselves of a table (``from_table``, and ``to_table`` to be written).
        table: the parsed table; of JSON, too.
        where: the file, for messages.
        prefix: the dotted path of the table inside the file, for messages.

    Raises:
        RecipeError: an unknown or missing key, or a value of the wrong type or range.
    """
    hints = get_type_hints(cls)
    known = {item.name: item for item in dataclasses.fields(cls) if item.init}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            remedy = f"did you mean {prefix}{near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
            raise RecipeError(f"unknown key {prefix}{key}", where=where, remedy=remedy)
    for name, item in known.items():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and name not in table:
            raise RecipeError(f"the key {prefix}{name} is missing", where=where)
    values = {key: _coerce(hints[key], value, where, prefix + key) for key, value in table.items()}
    try:
        return cls(**values)
    except RecipeError as error:  # a dataclass that checks itself does not know which file it came from
        key = f"{where}: {error.where}" if error.where else where
        raise RecipeError(error.what, where=key, got=error.got, wanted=error.wanted, remedy=error.remedy) from error


def _coerce(hint: Any, value: Any, where: str, key: str) -> Any:
    """Check one TOML value against a type hint; an int is taken for a float, nothing else is converted."""
    origin = get_origin(hint)
    if origin is Literal:
        if value not in get_args(hint) or isinstance(value, bool):
            wanted = ", ".join(map(str, get_args(hint)))
            raise RecipeError(f"bad value for {key}", where=where, got=repr(value), wanted=f"one of {wanted}")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in get_args(hint):
            return None
        kinds = [arg for arg in get_args(hint) if arg is not type(None)]
        plain = [dict if dataclasses.is_dataclass(arg) else arg for arg in kinds]
        if len(kinds) == 1:
            return _coerce(kinds[0], value, where, key)
        for kind, arg in zip(plain, kinds, strict=True):
            if isinstance(value, kind) and not isinstance(value, bool):
                return _coerce(arg, value, where, key)
        wanted = ", ".join(_TOML_NAMES[kind] for kind in plain)
        raise RecipeError(f"bad value for {key}", where=where, got=repr(value), wanted=f"one of {wanted}")
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_coerce(get_args(hint)[0], item, where, f"{key}[{i}]") for i, item in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {name: _coerce(get_args(hint)[1], item, where, f"{key}.{name}") for name, item in value.items()}
    names = getattr(hint, "_fields", None)
    if names is not None and isinstance(value, list) and len(value) == len(names):
        hints = get_type_hints(hint)
        return hint(
            *(_coerce(hints[name], part, where, f"{key}.{name}") for name, part in zip(names, value, strict=True))
        )
    if hasattr(hint, "from_table") and isinstance(value, dict):
        return hint.from_table(value, where=where, prefix=key)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return table_to_dataclass(typing.cast(type[Any], hint), value, where=where, prefix=f"{key}.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        if isinstance(value, float) and not math.isfinite(value):
            raise RecipeError(f"bad value for {key}", where=where, got=value, wanted="a finite number")
        return value
    wanted = "a table" if dataclasses.is_dataclass(hint) else _TOML_NAMES.get(origin or hint, "another type")
    raise RecipeError(f"bad value for {key}", where=where, got=repr(value), wanted=wanted)


def dataclass_to_toml(table: Any) -> str:
    """A dataclass, with dataclasses as its tables, as TOML that :func:`table_to_dataclass` reads back."""
    lines: list[str] = []
    tables: list[str] = []
    for item in dataclasses.fields(table):
        value = getattr(table, item.name)
        if dataclasses.is_dataclass(value):
            pairs = [(sub.name, getattr(value, sub.name)) for sub in dataclasses.fields(value)]
            body = [f"{name} = {toml_value(part)}" for name, part in pairs if part is not None]
            tables += ["", f"[{item.name}]", *body]
        elif isinstance(value, Mapping):
            body = [f"{toml_value(name)} = {toml_value(part)}" for name, part in value.items()]
            tables += ["", f"[{item.name}]", *body] if body else []
        elif isinstance(value, tuple) and value and hasattr(value[0], "to_table"):
            for part in value:
                pairs = [(name, value) for name, value in part.to_table().items() if value is not None]
                tables += ["", f"[[{item.name}]]", *(f"{name} = {toml_value(value)}" for name, value in pairs)]
        else:
            lines.append(f"{item.name} = {toml_value(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def toml_value(value: object) -> str:
    """A string, number, truth value, tuple, table or dataclass as TOML writes it in one line."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((item.name, getattr(value, item.name)) for item in dataclasses.fields(value))
        return toml_value({name: part for name, part in pairs if part is not None})
    if isinstance(value, Mapping):
        body = ", ".join(f"{toml_value(str(name))} = {toml_value(part)}" for name, part in value.items())
        return f"{{ {body} }}" if body else "{}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04X}" for c in escaped) + '"'
    return repr(list(value) if isinstance(value, tuple) else value)
