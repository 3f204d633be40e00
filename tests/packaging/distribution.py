"""What a wheel and an sdist of edgeq must hold, and what they must not."""

from __future__ import annotations

import ast
import email
import importlib.metadata
import re
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["check_sdist", "check_wheel"]

# Read where they lie, by code that would notice their absence only when it is used.
WANTED = (
    "edgeq/py.typed",
    "edgeq/_data/calibration/minmax.toml",
    "edgeq/_data/targets/cortex-a7.toml",
    "edgeq/_data/targets/cortex-a75.toml",
    "edgeq/_data/targets/native/litert_runner.c",
    "edgeq/_data/targets/native/count.c",
    "edgeq/bench/sample.sh",
    "edgeq/bench/transport/supervise.sh",
    "edgeq/android/templates/settings.gradle.kts.jinja",
    "edgeq/report/report.html.jinja",
    "edgeq/report/report.css",
)


def check_wheel(path: Path, root: Path) -> list[str]:
    """The names in a wheel.

    Raises:
        AssertionError: a file of the package is missing, one that does not belong is there, a path of this machine is
            in one, or its metadata are not what pyproject.toml says.
    """
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    code = {name for name in contents if ".dist-info/" not in name}
    expected = {str(file.relative_to(root)) for file in _files(root / "edgeq")}
    for kind in ("calibration", "targets"):
        expected |= {f"edgeq/_data/{file.relative_to(root)}" for file in _files(root / kind)}
    assert code == expected, f"{path.name}: {sorted(code ^ expected)}"
    assert set(WANTED) <= code, sorted(set(WANTED) - code)
    licenses = [name for name in contents if re.fullmatch(r"edgeq-[^/]+\.dist-info/licenses/LICENSE", name)]
    assert licenses, f"{path.name} has no licence"
    _check_contents(contents, root)
    _check_metadata(contents, root)
    _check_imports(contents, root)
    return sorted(contents)


def check_sdist(path: Path, root: Path) -> None:
    """The wheel is built from it, so that only what does not belong is looked for.

    Raises:
        AssertionError: as for :func:`check_wheel`.
    """
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        contents = {member.name.partition("/")[2]: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]
    tops = {name.split("/")[0] for name in contents}
    belonging = {"calibration", "edgeq", "targets", "tests", "docs"}
    belonging |= {"CHANGELOG.md", "LICENSE", "Makefile", "PKG-INFO", "README.md", "constraints.txt", "pyproject.toml"}
    assert belonging <= tops <= belonging | {".gitignore"}, tops ^ belonging
    _check_contents(contents, root)


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


def _check_contents(contents: dict[str, bytes], root: Path) -> None:
    for name, content in contents.items():
        assert not name.endswith((".pyc", ".so", ".o")), name
        assert str(root).encode() not in content, f"{name} has a path of this machine in it"


def _check_metadata(contents: dict[str, bytes], root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = next(content for name, content in contents.items() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(text)
    extras = project["optional-dependencies"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(extras)
    found = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    for extra in ("", *extras):
        lines = [*project["dependencies"], *_lines_of(extras, extra)]
        assert _asked(found, extra) == _asked(map(Requirement, lines), extra), extra
    assert metadata["Requires-Python"] == project["requires-python"]
    version = re.search(
        r'^__version__ = "(.+)"', (root / "edgeq" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert version is not None
    assert metadata["Version"] == version[1]
    scripts = next(content for name, content in contents.items() if name.endswith("entry_points.txt"))
    assert b"edgeq = edgeq.cli:main" in scripts


def _lines_of(extras: dict[str, list[str]], extra: str) -> list[str]:
    """What an extra asks for, with the extras that it names in turn."""
    found = []
    for line in extras.get(extra, []):
        requirement = Requirement(line)
        if requirement.name == "edgeq":
            found += [part for inner in requirement.extras for part in _lines_of(extras, inner)]
        else:
            found.append(line)
    return found


def _asked(requirements: Iterable[Requirement], extra: str) -> set[tuple[str, str]]:
    """Names and bounds that hold here."""
    return {
        (item.name, str(item.specifier))
        for item in requirements
        if item.marker is None or item.marker.evaluate({"extra": extra})
    }


def _check_imports(contents: dict[str, bytes], root: Path) -> None:
    """Every third-party module that the package imports is of a declared dependency."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for part in project["optional-dependencies"].values() for line in part)]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    owners = importlib.metadata.packages_distributions()
    for name, content in contents.items():
        if name.endswith(".py"):
            for module in _imported(content) - set(sys.stdlib_module_names) - {"edgeq"}:
                found = owners.get(module, [module])  # of an extra that is not installed, modules have its name
                assert {canonicalize_name(owner) for owner in found} & declared, f"{name} imports {module}"


def _imported(content: bytes) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found
