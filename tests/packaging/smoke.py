"""Install the wheel and the sdist outside the checkout and use them there, in an empty folder.

make smoke                                        the dependencies are those of .venv, the checkout is not seen
python tests/packaging/smoke.py dist --clean      pip fetches every dependency into an environment of its own
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

from distribution import check_sdist, check_wheel

ROOT = Path(__file__).resolve().parents[2]
HELP_S = 0.3
API = """
import edgeq, pathlib, sys
assert pathlib.Path(edgeq.__file__).is_relative_to(sys.prefix), edgeq.__file__
result = edgeq.convert("out/model.onnx", "again.tflite")
found = edgeq.inspect(result.path)
assert found.macs > 0 and "<table" in found._repr_html_()
assert edgeq.verify("out").accuracy["tflite"] >= 0
assert edgeq.PeriodicRegularizer and edgeq.Grid(8).qmax == 127
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dist", type=Path, help="folder with one wheel and one sdist")
    parser.add_argument("--clean", action="store_true", help="install the dependencies, too")
    arguments = parser.parse_args()
    (wheel,), (sdist,) = (list(arguments.dist.glob(pattern)) for pattern in ("edgeq-*.whl", "edgeq-*.tar.gz"))
    check_sdist(sdist, ROOT)
    names = check_wheel(wheel, ROOT)
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1000:.0f} kB; {sdist.name} belongs to it")
    with tempfile.TemporaryDirectory(prefix="edgeq-smoke-") as folder:
        use_wheel(install(wheel.resolve(), Path(folder) / "wheel", clean=arguments.clean), Path(folder))
        use_sdist(install(sdist.resolve(), Path(folder) / "sdist", clean=False), Path(folder))


def install(path: Path, place: Path, *, clean: bool) -> Path:
    """An environment with the package in it, and none of the checkout.

    A .pth to .venv's site-packages shows its dependencies; the .pth files in there, and so the editable edgeq, are
    not followed.
    """
    began = time.monotonic()
    venv.create(place, with_pip=False)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(place / "bin" / "python")]
    command += ["install", "--quiet", "--ignore-installed"]
    if clean:
        command += ["-c", str(ROOT / "constraints.txt")]
    else:
        command.append("--no-deps")
        target = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
        (target / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    run([*command, str(path)], place)
    print(f"{path.name} installed in {time.monotonic() - began:.0f} s")
    return place / "bin"


def use_wheel(binaries: Path, folder: Path) -> None:
    empty = folder / "empty"
    empty.mkdir()
    edgeq = str(binaries / "edgeq")
    times = [processor_time([edgeq, "--help"], empty) for _ in range(5)]
    print(f"edgeq --help: {min(times):.2f} s of the processor")
    assert min(times) < HELP_S, times
    run([edgeq, "doctor"], empty)
    assert "cortex-a75" in run([edgeq, "targets"], empty)
    began = time.monotonic()
    settings = ["--model", "lenet5", "--epochs", "1", "--batch-size", "256", "--android", "--out", "out"]
    manifest = json.loads(run([edgeq, "build", *settings, "--json"], empty))
    assert manifest["parity"]["codes"] == manifest["parity"]["codes_kept"] > 0
    assert (empty / "out" / "report.html").is_file()
    assert (empty / "out" / "android" / "settings.gradle.kts").is_file()
    print(f"edgeq build in an empty folder: {time.monotonic() - began:.0f} s")
    run([str(binaries / "python"), "-c", API], empty)
    print("the Python functions work from there, too")


def use_sdist(binaries: Path, folder: Path) -> None:
    program = "import edgeq, sys; assert edgeq.__file__.startswith(sys.prefix); print(*edgeq.list_targets())"
    assert "cortex-a75" in run([str(binaries / "python"), "-c", program], folder)
    print("the sdist installs, and finds its data")


def processor_time(command: list[str], folder: Path) -> float:
    """Seconds that a busy machine does not change."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(command, folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    if ended.returncode:
        sys.exit(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    main()
