"""The table of compression methods, and how one is made from a recipe's table or a command line's option."""

from __future__ import annotations

import difflib
import importlib
import re
import tomllib
from dataclasses import dataclass
from typing import Any

from edgeq.compress.method import Method
from edgeq.errors import RecipeError

__all__ = ["METHODS", "Row", "method_from_option", "method_from_table"]


@dataclass(frozen=True, slots=True)
class Row:
    """One method.

    Attributes:
        where: module and class, imported when it is asked for.
        does: what it does, in a few words, for the docs and ``--help``.
        source: the paper.
        shows: the property that defines it, which its test checks through the file.
    """

    where: str
    does: str
    source: str
    shows: str

    def load(self) -> type[Method]:
        module, _, name = self.where.partition(":")
        found: type[Method] = getattr(importlib.import_module(f"edgeq.compress.{module}"), name)
        return found


METHODS: dict[str, Row] = {
    "fold-batch-norm": Row(
        "fold_batch_norm:FoldBatchNorm",
        "puts batch norms into weights and biases, so that a layer has one step for all its channels",
        "Jacob et al. 2017, arXiv:1712.05877, section 3.2",
        "no batch norm is left, the network computes the same, and every layer has one step in every file",
    ),
    "fold-dirac": Row(
        "fold_dirac:FoldDirac",
        "folds the identity and the normalized filters of a DiracNet into plain convolutions",
        "Zagoruyko and Komodakis 2017, arXiv:1706.00388",
        "the outputs before and after are equal, and the identity that stands for the shortcuts is in the codes",
    ),
    "prune-balanced": Row(
        "prune_balanced:PruneBalanced",
        "sets weights to zero so that every group keeps equally many: n of m neighbours, or each processing element",
        "Han et al. 2017, arXiv:1612.00694; Mishra et al. 2021, arXiv:2104.08378",
        "no group of codes has more than its share of non-zeros, in every file",
    ),
    "prune-channels": Row(
        "prune_channels:PruneChannels",
        "takes channels and units out, by their weights, by how often they are not zero, or by Fisher information",
        "Li et al. 2017, arXiv:1608.08710; Hu et al. 2016, arXiv:1607.03250; Theis et al. 2018, arXiv:1801.05787",
        "the file has fewer channels, as many as asked for, and the network computes as if nobody read the others",
    ),
    "prune-magnitude": Row(
        "prune_magnitude:PruneMagnitude",
        "sets the smallest weights of each layer to zero, a share of them or those below a multiple of the deviation",
        "Han et al. 2015, arXiv:1506.02626",
        "what was pruned is a zero code in every file, and no more than was asked for is pruned",
    ),
    "search-bits": Row(
        "search_bits:SearchBits",
        "gives each layer as few bits as keep the network's accuracy, and retrains with them",
        "Judd et al. 2016, arXiv:1511.05236",
        "each layer has the bits that were found, in every file",
    ),
    "share-weights": Row(
        "share_weights:ShareWeights",
        "lets the weights of each layer take few values, found by k-means and trained on",
        "Han et al. 2016, arXiv:1510.00149",
        "each layer has at most 2^bits codes beside zero in every file",
    ),
    "low-rank": Row(
        "low_rank:LowRank",
        "factors layers into thinner ones: two by SVD, three by Tucker-2; rank by energy, multiply-adds or accuracy",
        "Kim et al. 2016, arXiv:1511.06530",
        "full rank is the layer, less leaves out the tail of its singular values, multiply-adds keep to a budget",
    ),
    "spatial-separable": Row(
        "spatial_separable:SpatialSeparable",
        "makes N x N convolutions 1 x N and N x 1 with fewer channels between",
        "Jaderberg et al. 2014, arXiv:1405.3866",
        "full rank is the layer, and what is left out is the tail of its singular values",
    ),
    "depthwise-separable": Row(
        "depthwise_separable:DepthwiseSeparable",
        "makes N x N convolutions depthwise ones, with a multiplier, and 1x1 ones",
        "Guo et al. 2018, arXiv:1808.05517",
        "full rank is the layer, and each input channel has the best filters of their number",
    ),
    "symmetric": Row(
        "symmetric:Symmetric",
        "ties weights that are mirrored to each other, over channels or in the kernel, in two, four or eight ways",
        "Hu, Zagoruyko and Komodakis 2018, arXiv:1812.11027",
        "tied codes are equal in every file",
    ),
}


def method_from_table(table: dict[str, Any], *, where: str, prefix: str = "compress") -> Method:
    """A method from a ``[[compress]]`` table of a recipe.

    Raises:
        RecipeError: no or an unknown method, an unknown key, a value of the wrong type or range.
    """
    from edgeq.strict_toml import table_to_dataclass

    given = dict(table)
    name = given.pop("method", None)
    if not isinstance(name, str) or name not in METHODS:
        near = difflib.get_close_matches(str(name), METHODS, n=1, cutoff=0.4)
        remedy = f"did you mean {near[0]}?" if near else f"known methods: {', '.join(METHODS)}"
        raise RecipeError("no such compression method", where=f"{where}: {prefix}.method", got=name, remedy=remedy)
    return table_to_dataclass(METHODS[name].load(), given, where=where, prefix=f"{prefix}.")


def method_from_option(text: str) -> Method:
    """A method from ``NAME,key=value,...`` of a command line; values are as in TOML, a bare word is a string.

    Raises:
        RecipeError: as for :func:`method_from_table`, or a part that is no ``key=value``.
    """
    name, *parts = re.split(r",(?![^\[]*\])", text)  # not at the commas of an array
    table: dict[str, Any] = {"method": name}
    for part in parts:
        key, sign, value = part.partition("=")
        if not sign or not key.strip():
            raise RecipeError("no key=value", where=f"--compress {name}", got=part, wanted="NAME,key=value,...")
        table[key.strip()] = _value(value.strip())
    return method_from_table(table, where="the command line", prefix=f"--compress {name}")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
