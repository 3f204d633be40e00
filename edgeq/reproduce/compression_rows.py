"""The rows of ``edgeq reproduce compression``: what is done to a trained network, one each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeq.compress import Method, method_from_option
from edgeq.recipe import QuantizeRecipe, Recipe, RegularizerRecipe, RoundingRecipe
from edgeq.rounding.options import PROGRESSIVE
from edgeq.rounding.table import METHODS

__all__ = ["ENTRIES", "PLAIN", "Entry"]

PULLED: Final = {"method": "periodic", "regularizer": RegularizerRecipe(form="decoupled", pull=1.0)}
SHIFTED: Final = PULLED | {"quantize": QuantizeRecipe(scale_format="power-of-two")}
WIDTHS: Final = (8, 4, 2)
ADAM: Final = {"optimizer": "adamw", "learning_rate": 0.003}


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table.

    Attributes:
        name: of the row.
        compress: methods in order, as ``--compress`` has them; epochs are dealt out evenly over their rounds.
        bits: of a weight.
        recipe: keys of the recipe that it has besides.
        train: keys of its ``[train]``, where the defaults for a trained network do not suit the method.
        paper: the figure of the method's own paper for a network of this kind, where it has one.
        run: the name of its runs, where several rows are of one.
    """

    name: str
    compress: tuple[str, ...] = ()
    bits: int = 8
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=lambda: PULLED)
    train: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    paper: str = ""
    run: str = ""

    def folder(self, seed: int) -> Path:
        """Where a seed's files are, among the runs."""
        return Path(f"{self.run}-seed{seed}", f"{self.bits}bit") if self.run else Path(f"{self.name}-seed{seed}")

    def made(self, base: Recipe, epochs: int) -> Recipe:
        """Its recipe for so many epochs, its methods' among them; the base has the network's place, ``train.init``."""
        methods = self._methods(epochs)
        left = 0 if methods else epochs
        train = dataclasses.replace(base.train, epochs=left, rate_schedule="cosine", **self.train)
        return dataclasses.replace(base, train=train, compress=methods, **self.recipe)

    def _methods(self, epochs: int) -> tuple[Method, ...]:
        """Its methods with their shares of the epochs, the remainder to the last one."""
        found = [method_from_option(text) for text in self.compress]
        left, tuned = epochs, list[Method]()
        for index, method in enumerate(found):
            share = max(1, left // sum(later.rounds for later in found[index:]))
            left -= share * method.rounds
            tuned.append(dataclasses.replace(method, epochs=share))
        return tuple(tuned)


def _periodic(bits: int, ends: int) -> Entry:
    """The term at one bit (cosine) or two (sine), with the first and last layer as all others or at ``ends`` bits."""
    function = "cosine" if bits == 1 else "sine"
    term = RegularizerRecipe(function=function, form="latent", pull=1.0)  # type: ignore[arg-type]
    recipe = {"method": "periodic", "bits": bits, "regularizer": term, "rounding": RoundingRecipe(ends=ends)}
    return Entry(f"periodic-{function}-ends" if ends else f"periodic-{function}", bits=bits, recipe=recipe)


def _published(name: str, paper: str, calibration: str = "minmax", **rounding: Any) -> Entry:
    """A method of one or two bits (three values) as its paper has it."""
    bits = 2 if METHODS[name].function == "sine" else 1
    recipe = {
        "method": name,
        "bits": METHODS[name].bits[0],
        "rounding": RoundingRecipe(**rounding),
        "quantize": QuantizeRecipe(calibration=calibration),
    }
    label = "-".join([name, *rounding]).replace("_", "-")
    return Entry(label, bits=bits, recipe=recipe, train=ADAM, paper=paper)


def _progressive(bits: int) -> Entry:
    """One width of a run that trains for all of them at once."""
    recipe = {"method": PROGRESSIVE, "bits": min(WIDTHS), "rounding": RoundingRecipe(widths=WIDTHS)}
    return Entry(f"{PROGRESSIVE}-{bits}bit", bits=bits, recipe=recipe, run=PROGRESSIVE)


def _symmetric(options: str, *, name: str = "", paper: float = 0) -> Entry:
    """Weights that are mirrored to each other made one; the paper has a float network's accuracy for some forms."""
    label = "-".join(["symmetric", name or options]).removesuffix("-average")
    figure = f"CIFAR-10, WRN-16-1-bottleneck: {paper:.2f} % (float 91.51 %)" if paper else ""
    return Entry(label, (f"symmetric,form={options}",), paper=figure)


PRUNED: Final = "ImageNet, AlexNet, 11 % of the weights: 57.23 % (float 57.22 %)"
SHARED: Final = "ImageNet, AlexNet, 8 and 4 bits: 57.21 % (float 57.22 %)"
BALANCED: Final = "speech, LSTM, 12 bits: 20.7 % of the words wrong (float 20.3 %)"
SEARCHED: Final = "CIFAR-10, Caffe's Convnet, within 2 %: x0.22 of the 32-bit traffic"

PLAIN: Final = "plain-8bit"
ENTRIES: Final = (
    Entry(PLAIN),
    Entry("power-of-two", ("fold-batch-norm",), recipe=SHIFTED),
    Entry("prune-50", ("prune-magnitude,sparsity=0.5",)),
    Entry("prune-80", ("prune-magnitude,sparsity=0.8",)),
    Entry("prune-90-in-4", ("prune-magnitude,sparsity=0.9,steps=4",), paper=PRUNED),
    Entry("prune-deviations", ("prune-magnitude,deviations=1",), paper=PRUNED),
    Entry("prune-2-of-4", ("prune-balanced,keep=2,of=4",)),
    Entry("prune-balanced-75", ("prune-balanced,sparsity=0.75,elements=8",), paper=BALANCED),
    Entry("channels-magnitude", ("prune-channels,macs=0.55",)),
    Entry("channels-activation", ("prune-channels,criterion=activation,macs=0.55",)),
    Entry("channels-distortion", ("prune-channels,criterion=activation,distortion=0.1,macs=0.55",)),
    Entry("channels-outliers", ("prune-channels,criterion=activation,outliers=2",)),
    Entry("channels-fisher", ("prune-channels,criterion=fisher,macs=0.55",)),
    Entry("search-bits", ("search-bits,tolerance=2",), paper=SEARCHED),
    Entry("share-16", ("share-weights,bits=4",)),
    Entry("share-16-density", ("share-weights,bits=4,start=density",)),
    Entry("share-16-random", ("share-weights,bits=4,start=random",)),
    Entry("prune-80-share-16", ("prune-magnitude,sparsity=0.8", "share-weights,bits=4"), paper=SHARED),
    _symmetric("average", paper=91.17),
    _symmetric("triangular", paper=91.16),
    _symmetric("soft,norm=l1", name="soft", paper=91.39),
    _symmetric("eigen", paper=89.77),
    _symmetric("ldl", paper=90.85),
    _symmetric("average,axes=spatial", name="spatial", paper=90.30),
    _symmetric("average,axes=both", name="both", paper=89.80),
    _symmetric("chunks,ways=4", name="chunks"),
    _symmetric("blocks"),
    _symmetric("triangles"),
    Entry("low-rank", ("low-rank,macs=0.6",)),
    Entry("spatial-separable", ("spatial-separable,macs=0.5",)),
    Entry("depthwise-separable", ("depthwise-separable,multiplier=1",)),
    _periodic(1, 0),
    _periodic(1, 8),
    _published("binary-connect", "CIFAR-10, VGG-like: 90.10 % (float 89.36 %)"),
    _published("binary-connect", "CIFAR-10, VGG-like: 91.73 % (float 89.36 %)", stochastic=True),
    _published("bnn", "CIFAR-10, VGG-like: 89.85 %"),
    _published("bwn", "ImageNet, ResNet-18: 60.8 % (float 69.3 %)"),
    _published("xnor-net", "ImageNet, ResNet-18: 51.2 % (float 69.3 %)", calibration="mse", input_scale=True),
    _published("dorefa", "ImageNet, AlexNet, 1-bit weights: 53.9 % (float 57.2 %)"),
    _periodic(2, 0),
    _periodic(2, 8),
    _published("twn", "CIFAR-10, VGG-7: 92.56 % (float 92.88 %)"),
    _published("ttq", "CIFAR-10, ResNet-20: 91.13 % (float 91.77 %)"),
    *(_progressive(bits) for bits in WIDTHS),
)
