"""The Android bundle: a Gradle project around a finished model. :func:`write_android` writes it."""

from __future__ import annotations

from edgeq.android.bundle import FOLDER, android_files, check_android, write_android

__all__ = ["FOLDER", "android_files", "check_android", "write_android"]
