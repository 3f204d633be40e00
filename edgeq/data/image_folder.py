"""Images in ``train/<class>/*`` and ``test/<class>/*``, collected as a source hands them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import torch

from edgeq.data.decode import ImageRows, SameSizeDecoder, Unreadable, is_image
from edgeq.data.image_data import ImageData
from edgeq.data.members import Member, Source, shown
from edgeq.errors import DataError
from edgeq.progress import Progress

__all__ = ["FolderReader"]

_SPLITS = ("train", "test")
_LAYOUT = "train/<class>/* and test/<class>/*"


def _place(name: str) -> tuple[str, list[str]] | None:
    """The single top folder ("" for none) and the parts from ``train`` or ``test`` on; None for what lies elsewhere."""
    parts = name.split("/")
    if parts[0] in _SPLITS:
        return "", parts
    return (parts[0], parts[1:]) if len(parts) > 1 and parts[1] in _SPLITS else None


class FolderReader:
    """Takes members one by one and makes an :class:`ImageData` of them at the end.

    Args:
        source: where the members come from.
        image_size: side in pixels to scale to, or 0 to take images as they are.
        unreadable: what an image that cannot be decoded does: ``error`` stops, ``skip`` leaves it out and counts it.
    """

    def __init__(self, source: Source, image_size: int, unreadable: Unreadable) -> None:
        self._where = source.path
        self._decoder = SameSizeDecoder(3, (image_size, image_size) if image_size else None, unreadable)
        expected = _count_by_split(source.names or ())
        self._rows = {split: ImageRows(expected[split], source.path) for split in _SPLITS}
        self._classes: dict[str, set[str]] = {split: set() for split in _SPLITS}
        self._tops: set[str] = set()
        self._outside = 0
        self.count = 0

    def add(self, member: Member) -> None:
        """Decode a member if it is an image in its place.

        Raises:
            DataError: it cannot be decoded (with ``error``), has another size, or lies outside a class folder.
        """
        place = _place(member.name)
        image = not member.is_folder and is_image(member.name)
        if place is None:
            self._outside += image
            return
        top, parts = place
        if member.is_folder and len(parts) == 2:
            self._classes[parts[0]].add(parts[1])
        if not image:
            return
        if len(parts) < 3:
            got = shown(member.name)
            raise DataError("an image lies outside a class folder", where=self._where, got=got, wanted=_LAYOUT)
        self._tops.add(top)
        self._classes[parts[0]].add(parts[1])
        self.count += 1
        pixels = self._decoder.decode(member.read(), f"{self._where}: {member.name}")
        if pixels is not None:
            self._rows[parts[0]].append((parts[1], "/".join(parts[2:])), pixels)

    def finish(self, progress: Progress) -> ImageData:
        """The data set.

        Raises:
            DataError: a split or a class is missing or empty, or there are several top folders.
        """
        if self._outside:
            progress.note(f"{self._outside} images outside train/ and test/ were left out")
        if len(self._tops) > 1:
            got = ", ".join(sorted(self._tops))
            raise DataError("several top folders", where=self._where, got=got, wanted=f"{_LAYOUT}, once")
        for split in _SPLITS:
            if not self._classes[split]:
                raise DataError(f"there is no {split} folder with classes", where=self._where, wanted=_LAYOUT)
        classes = self._checked_classes()
        labels, images = {}, {}
        for split in _SPLITS:
            keys, images[split] = self._rows[split].finish()
            labels[split] = _labels((key[0] for key in keys), classes)
        if self._decoder.skipped:
            progress.warn(f"{self._decoder.skipped} unreadable images were left out")
        return ImageData(
            name=self._where.resolve().name,
            train_images=images["train"],
            train_labels=labels["train"],
            test_images=images["test"],
            test_labels=labels["test"],
            classes=classes,
            skipped=self._decoder.skipped,
        )

    def _checked_classes(self) -> tuple[str, ...]:
        """The class names, sorted; the same in both splits and each with an image."""
        train, test = (self._classes[split] for split in _SPLITS)
        if different := sorted(train ^ test):
            name, split = shown(different[0]), "test" if different[0] in train else "train"
            raise DataError(
                f"{len(different)} classes are in one of train and test only",
                where=self._where,
                got=f"no {split}/{name}",
                wanted="the same classes in both",
            )
        for split in _SPLITS:
            filled = {key[0] for key in self._rows[split].keys}
            if empty := sorted(self._classes[split] - filled):
                raise DataError(
                    "a class folder has no readable image", where=self._where, got=f"{split}/{shown(empty[0])}"
                )
        return tuple(sorted(train))


def _count_by_split(names: Iterable[str]) -> Counter[str]:
    places = (_place(name) for name in names if is_image(name))
    return Counter(place[1][0] for place in places if place is not None)


def _labels(names: Iterable[str], classes: tuple[str, ...]) -> torch.Tensor:
    index = {name: label for label, name in enumerate(classes)}
    return torch.tensor([index[name] for name in names], dtype=torch.int64)
