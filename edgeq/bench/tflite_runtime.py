"""tflite-runtime for 32-bit ARM, the runtime such a board's user installs with pip, in a guest Python of Debian 12."""

from __future__ import annotations

from edgeq.bench.guest import GuestProgram
from edgeq.bench.wheels import Wheel, wheel_members
from edgeq.progress import Progress, Silent
from edgeq.targets import Target

__all__ = ["TFLITE_RUNTIME_PACKAGES", "tflite_runtime_guest"]

TFLITE_RUNTIME_PACKAGES = (
    *("libc6", "libgcc-s1", "libstdc++6"),
    *("libpython3.11-minimal", "libpython3.11-stdlib", "python3.11-minimal", "python3-numpy"),
    *("libblas3", "libexpat1", "libffi8", "libgfortran5", "liblapack3", "zlib1g"),
)
"""Debian's packages of Python 3.11, of numpy 1.24 (tflite-runtime needs one before 2), and of what they link."""

_WHEEL = Wheel("tflite-runtime", "2.14.0", ("manylinux_2_34_armv7l",), "3.11")
_FOLDER = "tflite_runtime"
_LIBRARY = f"{_FOLDER}/_pywrap_tensorflow_interpreter_wrapper.so"
_MEMBERS = {
    f"{_FOLDER}/__init__.py": 1 << 20,
    f"{_FOLDER}/interpreter.py": 1 << 20,
    f"{_FOLDER}/metrics_interface.py": 1 << 20,
    f"{_FOLDER}/metrics_portable.py": 1 << 20,
    _LIBRARY: 1 << 28,
}


def tflite_runtime_guest(target: Target, progress: Progress | None = None) -> GuestProgram:
    """The tflite-runtime runner as armhf code on one core of a target.

    Raises:
        EdgeqError: a Debian package or the wheel is missing and cannot be had.
        FormatError: the wheel is not what it should be.
    """
    from edgeq.bench.sysroot import guest_root
    from edgeq.bench.toolchain import native_source

    progress = progress or Silent()
    root = guest_root("armhf", target, TFLITE_RUNTIME_PACKAGES, progress)
    wheel = wheel_members(_WHEEL, _MEMBERS, progress)
    libraries = root / "usr" / "lib" / "arm-linux-gnueabihf"
    return GuestProgram(
        program=root / "usr" / "bin" / "python3.11",
        arguments=("-s", "-B", "-P", str(native_source("tflite_runtime_runner.py"))),
        root=root,
        library_folders=(libraries / "blas", libraries / "lapack"),  # where Debian keeps the alternatives
        environment={"EDGEQ_TFLITE_RUNTIME": str(wheel), "PYTHONHASHSEED": "0"},
        symbols=(wheel / _LIBRARY,),
    )
