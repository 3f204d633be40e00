"""CIFAR-10's own files: the binary batches (``*.bin``) and the Python batches, collected as a source hands them out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeq.data.image_data import ImageData
from edgeq.data.members import Member, Source
from edgeq.data.plain_pickle import load_plain_pickle
from edgeq.errors import DataError

__all__ = ["CifarReader", "is_cifar_file"]

_FILE = re.compile(r"(?:data_batch_(?P<number>\d{1,4})|test_batch|(?P<meta>batches\.meta))(?P<suffix>\.bin|\.txt)?")
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32

_Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]


def _match(name: str) -> re.Match[str] | None:
    found = _FILE.fullmatch(name.rsplit("/", 1)[-1])
    if found is None or name.count("/") > 1:
        return None
    suffixes = (None, ".txt") if found["meta"] else (None, ".bin")
    return found if found["suffix"] in suffixes else None


def is_cifar_file(name: str) -> bool:
    """Whether a file is named as CIFAR-10's batches are, at the top or in one folder."""
    return _match(name) is not None


class CifarReader:
    """Takes the batches one by one and makes an :class:`ImageData` of them at the end.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Dataset layout".
    """

    def __init__(self, source: Source) -> None:
        self._where = source.path
        self._classes: tuple[str, ...] = ()
        self._train: dict[int, _Batch] = {}
        self._test: _Batch | None = None
        self._forms: set[str] = set()
        self.count = 0

    def add(self, member: Member) -> None:
        """Read one file of the set.

        Raises:
            DataError: it is there twice, or does not hold what its name says.
        """
        found = _match(member.name)
        assert found is not None, "the caller asks is_cifar_file first"
        where = f"{self._where}: {member.name}"
        self._forms.add("binary" if found["suffix"] else "Python")
        self.count += 1
        content = member.read()
        if found["meta"]:
            self._once(not self._classes, where)
            self._classes = _class_names(content, where, text=found["suffix"] is not None)
            return
        batch = _binary_batch(content, where) if found["suffix"] else _python_batch(content, where)
        if found["number"] is None:
            self._once(self._test is None, where)
            self._test = batch
        else:
            self._once(int(found["number"]) not in self._train, where)
            self._train[int(found["number"])] = batch

    def _once(self, first: bool, where: str) -> None:
        if not first:
            raise DataError("a batch is there twice", where=where)

    def finish(self) -> ImageData:
        """The data set.

        Raises:
            DataError: a batch or the class names are missing, or binary and Python files are mixed.
        """
        if len(self._forms) > 1:
            raise DataError("binary and Python batches are mixed", where=self._where, wanted="one of the two")
        numbers = sorted(self._train)
        if not numbers or numbers != list(range(1, len(numbers) + 1)):
            got = ", ".join(map(str, numbers)) or "none"
            raise DataError("training batches are missing", where=self._where, got=got, wanted="data_batch_1, 2, ...")
        if self._test is None or not self._classes:
            missing = "test_batch" if self._test is None else "batches.meta"
            raise DataError(f"{missing} is missing", where=self._where)
        train_images, train_labels = _joined([self._train[number] for number in numbers])
        test_images, test_labels = _joined([self._test])
        return ImageData(
            name=self._where.resolve().name,
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
            classes=self._classes,
        )


def _joined(batches: list[_Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.empty((sum(len(pixels) for pixels, _ in batches), *_SHAPE), dtype=torch.uint8)
    np.concatenate([pixels for pixels, _ in batches], out=images.numpy().reshape(-1, _PIXELS))
    return images, torch.from_numpy(np.concatenate([labels for _, labels in batches]))


def _class_names(content: bytes, where: str, *, text: bool) -> tuple[str, ...]:
    if text:
        names: Any = [line for line in content.splitlines() if line.strip()]
    else:
        names = load_plain_pickle(content, where).get("label_names")
    try:
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    except (TypeError, UnicodeDecodeError) as error:
        raise DataError("there are no class names in it", where=where, got=error) from error


def _binary_batch(content: bytes, where: str) -> _Batch:
    """Records of one label byte and 3,072 pixels, red plane first."""
    if not content or len(content) % (1 + _PIXELS):
        wanted = f"a multiple of {1 + _PIXELS} bytes"
        raise DataError("the batch is truncated or none", where=where, got=len(content), wanted=wanted)
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + _PIXELS)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _python_batch(content: bytes, where: str) -> _Batch:
    batch = load_plain_pickle(content, where)
    pixels, labels = batch.get("data"), batch.get("labels")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (_PIXELS,):
        got = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise DataError("data is not as it should be", where=where, got=got, wanted=f"uint8 [N, {_PIXELS}]")
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()
    if (
        not isinstance(labels, list)
        or len(labels) != len(pixels)
        or not all(type(i) is int and 0 <= i < 256 for i in labels)
    ):
        got = f"{type(labels).__name__} of {len(labels)}" if isinstance(labels, list) else type(labels).__name__
        raise DataError("labels is not as it should be", where=where, got=got, wanted=f"{len(pixels)} class numbers")
    return pixels, np.array(labels, np.int64)
