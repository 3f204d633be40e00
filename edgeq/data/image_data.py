"""The one form in which images reach training: whole tensors, checked once. Reads no file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch

from edgeq.data.crops import center_crop
from edgeq.data.members import has_control_characters
from edgeq.errors import DataError

__all__ = ["ImageData"]


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images for training and test. Batches are slices of the tensors.

    Attributes:
        name: what the data set is called: ``digits``, or the file name of its folder or archive.
        train_images: uint8 [N, C, H, W], contiguous.
        train_labels: int64 [N], indices into ``classes``.
        test_images: uint8 [M, C, H, W], contiguous.
        test_labels: int64 [M].
        classes: the class names, two or more, different, each on one line.
        mirrors: whether a left-right mirror image is a fair example of its class; not so for digits.
        skipped: images that were left out as unreadable.
        on_disk: the images are mapped from a file that memory cannot hold; they are read as they are used.
        crop: side of what the network sees of an image; training images are larger then, test images cut already; 0
            where images are seen whole.
        known_sha256: the fingerprint, where it was computed before.
        sha256: of pixels, labels and class names; computed, so equal data has an equal hash whatever it was packed in.

    Raises:
        DataError: a tensor of the wrong type, shape or range, an empty set, or an unusable class name.
    """

    name: str
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    classes: tuple[str, ...]
    mirrors: bool = True
    skipped: int = 0
    on_disk: bool = False
    crop: int = 0
    known_sha256: str = ""
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        self._check_classes()
        self._check_split("train", self.train_images, self.train_labels)
        self._check_split("test", self.test_images, self.test_labels)
        train, test = tuple(self.train_images.shape[1:]), tuple(self.test_images.shape[1:])
        if (train[0], *[self.crop or side for side in train[1:]]) != test:
            raise DataError("test images differ in shape from training images", where=self.name, got=test, wanted=train)
        object.__setattr__(self, "sha256", self.known_sha256 or self._digest())

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image as the network sees it."""
        _, channels, height, width = self.test_images.shape
        return channels, height, width

    def drawn(self, count: int, seed: int) -> torch.Tensor:
        """Rows of training images drawn by a seed, without repetition: int64 [count], all where there are fewer."""
        return torch.randperm(len(self.train_images), generator=torch.Generator().manual_seed(seed))[:count]

    def as_seen(self, images: torch.Tensor) -> torch.Tensor:
        """The centre of training images uint8 [N, C, H, W], where they are larger than what the network sees."""
        return center_crop(images, self.input_shape[1:]) if self.crop else images

    def _check_classes(self) -> None:
        if len(self.classes) < 2:
            raise DataError("too few classes", where=self.name, got=len(self.classes), wanted="2 or more")
        if len(set(self.classes)) != len(self.classes):
            raise DataError("two classes have the same name", where=self.name, got=", ".join(sorted(self.classes)))
        for name in self.classes:
            if not name.strip() or has_control_characters(name):
                raise DataError("a class name is empty or has a control character", where=self.name, got=ascii(name))

    def _check_split(self, split: str, images: torch.Tensor, labels: torch.Tensor) -> None:
        where = f"{self.name}: {split}"
        if images.dtype != torch.uint8 or images.ndim != 4 or not images.is_contiguous():
            got = f"{images.dtype} {list(images.shape)}"
            raise DataError("images of the wrong kind", where=where, got=got, wanted="contiguous uint8 [N, C, H, W]")
        if not images.numel():
            raise DataError("there are no images", where=where, got=list(images.shape))
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            got = f"{labels.dtype} {list(labels.shape)}"
            raise DataError("labels of the wrong kind", where=where, got=got, wanted=f"int64 [{len(images)}]")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(self.classes):
            wanted = f"0 to {len(self.classes) - 1}"
            raise DataError("a label without a class", where=where, got=f"{low} to {high}", wanted=wanted)

    def _digest(self) -> str:
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for tensor in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(repr(list(tensor.shape)).encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()
