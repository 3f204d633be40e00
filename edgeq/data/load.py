"""From the user's ``--data`` path to an :class:`ImageData`, whatever form the data are in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch

from edgeq.data.cifar import CifarReader, is_cifar_file
from edgeq.data.crops import center_crop
from edgeq.data.decode import Unreadable, quiet_pillow
from edgeq.data.digits import load_digits
from edgeq.data.disk_set import load_disk_set
from edgeq.data.idx import IdxReader, is_idx_file
from edgeq.data.image_data import ImageData
from edgeq.data.image_folder import FolderReader
from edgeq.data.limits import require_memory
from edgeq.data.pixels import scaled
from edgeq.data.source import open_source, reading
from edgeq.data.sums import load_sums
from edgeq.errors import DataError
from edgeq.progress import Progress, Silent

__all__ = ["load_data"]

_MAX_SIDE = 4096

BUILT_IN: Mapping[str, Callable[[], ImageData]] = MappingProxyType({"digits": load_digits, "sums": load_sums})


def load_data(
    path: str,
    *,
    image_size: int = 0,
    crop: int = 0,
    cache: str = "",
    unreadable: Unreadable = "error",
    progress: Progress = Silent(),  # noqa: B008  # has no state
) -> ImageData:
    """Load a labelled data set, whole, into memory or mapped from disk.

    Args:
        path: ``digits`` or ``sums``; or a folder, .zip or .tar (plain, gzip, bzip2, xz) that holds ``train/<class>/*``
            and ``test/<class>/*`` images, CIFAR-10's binary or Python batches (one folder around them is allowed), or
            MNIST's IDX files, gzipped or not (two are).
        image_size: side in pixels: the short side is scaled to it, the long one cropped around the centre; 0 takes
            images as they are, and all must then be of one size.
        crop: side of the part that the network sees, cut out of test images at once; 0 for whole images.
        cache: a folder on disk: the images of a folder are decoded to a file there, once, and used from it, so that
            they need not fit into memory; empty for memory.
        unreadable: ``error`` stops at an image that cannot be decoded, ``skip`` leaves it out and counts it.
        progress: where to report to.

    Returns:
        Images uint8 [N, 3, H, W] ordered by class and name, whatever the order in the archive; of IDX files
        [N, 1, H, W] in their order.

    Raises:
        DataError: anything about the data that is not so; nothing is written to disk and no code in it is run.
    """
    if not 0 <= image_size <= _MAX_SIDE:
        raise DataError("out of range", where="--image-size", got=image_size, wanted=f"0 to {_MAX_SIDE}")
    if path in BUILT_IN:
        return _cropped(_scaled(BUILT_IN[path](), image_size), crop)
    if cache and crop:
        raise DataError("images on disk are not cropped", where="data.crop", got=crop, remedy="leave cache or crop out")
    if cache:
        return load_disk_set(Path(path), Path(cache), image_size, unreadable, progress)
    source = open_source(Path(path))
    cifar, idx, folder = CifarReader(source), IdxReader(source), FolderReader(source, image_size, unreadable)
    with quiet_pillow(), reading(source, progress) as members:
        for member in members:
            if not member.is_folder and is_cifar_file(member.name):
                cifar.add(member)
            elif not member.is_folder and is_idx_file(member.name):
                idx.add(member)
            else:
                folder.add(member)
    if sum(1 for reader in (cifar, idx, folder) if reader.count) > 1:
        raise DataError("image files, CIFAR batches and IDX files are mixed", where=path, wanted="one of them")
    if cifar.count or idx.count:
        return _cropped(_scaled(cifar.finish() if cifar.count else idx.finish(), image_size), crop)
    return _cropped(folder.finish(progress), crop)


def _cropped(data: ImageData, side: int) -> ImageData:
    """The same data, of which the network sees a part."""
    if not side:
        return data
    height, width = data.input_shape[1:]
    if side > min(height, width):
        raise DataError("the crop is larger than the images", where="data.crop", got=side, wanted=min(height, width))
    test = center_crop(data.test_images, (side, side))
    return dataclasses.replace(data, test_images=test, crop=side, known_sha256="")


def _scaled(data: ImageData, side: int) -> ImageData:
    """The same data in another size, where one is asked for."""
    if side in (0, data.input_shape[1]):
        return data
    need = (len(data.train_images) + len(data.test_images)) * data.input_shape[0] * side * side
    require_memory(need, where=data.name, remedy="pass a smaller --image-size")
    return ImageData(
        name=data.name,
        train_images=_resized(data.train_images, side),
        train_labels=data.train_labels,
        test_images=_resized(data.test_images, side),
        test_labels=data.test_labels,
        classes=data.classes,
        mirrors=data.mirrors,
        skipped=data.skipped,
    )


def _resized(images: torch.Tensor, side: int) -> torch.Tensor:
    resized = torch.empty((*images.shape[:2], side, side), dtype=torch.uint8)
    for start in range(0, len(images), 256):
        resized[start : start + 256] = scaled(images[start : start + 256], (side, side))
    return resized
