"""Which channels of a network can be taken out, and which must go together: its exported graph, walked with labels.

Each channel that a layer makes gets a number, and each value of the graph is walked with the numbers of its elements:
operations that move elements move the numbers, an addition ties the numbers of its sides, a layer notes what it reads
and what it makes. What is not understood, the network's inputs and outputs stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from edgeq.compress.channel_graph import ChannelGraph, ChannelLayer, components, groups_of
from edgeq.errors import ModelError
from edgeq.models.structure import can_be_noted

__all__ = ["find_channels"]

# fmt: off
_ACTIVATIONS = frozenset([
    "relu", "relu6", "hardtanh", "clamp", "clamp_min", "hardswish", "hardsigmoid", "sigmoid", "tanh", "silu", "gelu",
    "elu", "leaky_relu", "mish", "softplus",
])
_ELEMENTWISE = _ACTIVATIONS | {
    "dropout", "feature_dropout", "neg", "abs", "exp", "sqrt", "pow", "clone", "contiguous", "to", "_to_copy", "detach",
    "alias",
}
_PAIRS = frozenset(["add", "sub", "mul", "div", "maximum", "minimum"])
_IMAGES = frozenset([
    "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "upsample_nearest2d",
    "upsample_bilinear2d", "constant_pad_nd", "pad",
])
_REDUCTIONS = frozenset(["mean", "sum", "amax", "amin"])
_MOVES = frozenset([
    "permute", "transpose", "t", "movedim", "unsqueeze", "squeeze", "expand", "cat", "concat", "stack", "flip",
    "getitem",
])
_VIEWS = frozenset(["view", "reshape", "flatten"])
# fmt: on
_PARTS = {"slice": 1, "narrow": 1, "select": 1, "chunk": 2, "split": 2, "split_with_sizes": 2}  # where the dimension is
_LAYERS = {"conv2d": nn.Conv2d, "linear": nn.Linear, "conv_transpose2d": nn.ConvTranspose2d}


def find_channels(model: nn.Module, input_shape: tuple[int, ...], batch: int = 1) -> ChannelGraph:
    """Walk a network's graph.

    Args:
        model: float32, on the CPU, in eval mode.
        input_shape: of one image, (C, H, W).
        batch: images that the exported network shall take at once.

    Raises:
        ModelError: the network cannot be exported.
    """
    images = torch.zeros(batch, *input_shape)
    try:
        module: fx.GraphModule = torch.export.export(model, (images,)).module()
    except Exception as error:
        got = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise ModelError("the network's graph cannot be read", where=type(model).__name__, got=got) from error
    walk = _Walk(model, module, batch)
    with torch.no_grad():
        walk.run()
    return walk.result()


def _along(labels: Tensor, dim: int) -> Tensor | None:
    """The labels along a dimension where they are the same over all others, else None."""
    dim %= labels.dim()
    for other in range(labels.dim()):
        if other != dim and labels.stride(other) == 0:
            labels = labels.narrow(other, 0, 1)
    rows = labels.movedim(dim, 0).flatten(1)
    return rows[:, 0] if bool((rows == rows[:, :1]).all()) else None


def _operation(node: fx.Node) -> str:
    """The name of what a node computes, without variants: ``relu`` for ``aten.relu_.default``."""
    if node.op != "call_function":
        return node.op
    if isinstance(node.target, torch._ops.OpOverload):
        name = node.target._schema.name.rpartition("::")[2]
        return name.rstrip("_") or name
    return getattr(node.target, "__name__", str(node.target))


@dataclass
class _Walk:
    model: nn.Module
    module: fx.GraphModule
    batch: int
    labels: dict[fx.Node, Any] = field(default_factory=dict)
    found: list[tuple[str, str, Tensor, Tensor, int]] = field(default_factory=list)
    watched: dict[str, Tensor] = field(default_factory=dict)
    ties: list[Tensor] = field(default_factory=list)
    made: int = 1  # label 0 is what stays
    owners: Counter[int] = field(default_factory=Counter)  # modules that have a parameter, by its id

    def run(self) -> None:
        modules = self.model.modules()
        self.owners.update(id(item) for module in modules for item in module.parameters(recurse=False))
        uses: dict[fx.Node, fx.Node] = {}
        for node in reversed(self.module.graph.nodes):
            for source in node.all_input_nodes:
                uses.setdefault(source, node)
        done: dict[fx.Node, list[fx.Node]] = {}
        for source, last in uses.items():
            done.setdefault(last, []).append(source)
        for node in self.module.graph.nodes:
            self.labels[node] = self._visit(node)
            for source in done.get(node, ()):
                del self.labels[source]

    def _visit(self, node: fx.Node) -> Any:
        name = _operation(node)
        handler = _handler(name)
        if handler is None or not isinstance(node.meta.get("val"), Tensor | list | tuple):
            return self._fixed(node)
        result = handler(self, node)
        if name in _ACTIVATIONS and isinstance(result, Tensor):
            self.watched[node.name] = _narrow(result)[0]
        return result

    def _fixed(self, node: fx.Node) -> Any:
        """What is not understood: all that goes in stays, and so does what comes out."""
        if node.op == "get_attr":
            return torch.zeros((), dtype=torch.int64).expand(_attribute(self.module, node).shape)
        for source in node.all_input_nodes:
            for labels in _tensors(self.labels[source]):
                self.tie(labels, labels.new_zeros(()))
        return torch.utils._pytree.tree_map(
            lambda value: torch.zeros((), dtype=torch.int64).expand(value.shape) if isinstance(value, Tensor) else 0,
            node.meta.get("val"),
        )

    def tie(self, first: Tensor, second: Tensor) -> None:
        """What has these numbers goes together, element by element."""
        shape = torch.broadcast_shapes(first.shape, second.shape)  # type: ignore[no-untyped-call]
        first, second = _narrow(first.expand(shape), second.expand(shape))
        pairs = torch.stack([first.flatten(), second.flatten()])
        pairs = pairs[:, pairs[0] != pairs[1]]
        if pairs.numel():
            self.ties.append(torch.unique(pairs, dim=1))

    def fresh(self, count: int) -> Tensor:
        self.made += count
        return torch.arange(self.made - count, self.made)

    # -- kinds of operations --------------------------------------------------------------------------------------

    def _elementwise(self, node: fx.Node) -> Any:
        return self.labels[_source(node)]

    def _pair(self, node: fx.Node) -> Any:
        sides = [self.labels[arg] for arg in node.args[:2] if isinstance(arg, fx.Node)]
        sides = [side for side in sides if isinstance(side, Tensor) and side.numel() != 1]
        if len(sides) == 2:
            self.tie(*sides)
        shape = node.meta["val"].shape
        if not sides:
            return torch.zeros((), dtype=torch.int64).expand(shape)
        return max(sides, key=lambda side: side.numel()).expand(shape)

    def _image(self, node: fx.Node) -> Any:
        labels, shape = self.labels[_source(node)], node.meta["val"].shape
        channels = _along(labels, 1) if labels.dim() == 4 and labels.shape[1] == shape[1] else None
        return self._fixed(node) if channels is None else channels.view(1, -1, 1, 1).expand(shape)

    def _reduction(self, node: fx.Node) -> Any:
        labels = self.labels[_source(node)]
        dims = node.args[1] if len(node.args) > 1 else None
        if not isinstance(dims, list | tuple | int):
            return self._fixed(node)
        kept = labels
        for dim in [dims] if isinstance(dims, int) else dims:
            first = kept.narrow(dim, 0, 1)
            if kept.stride(dim) != 0 and not bool((kept == first).all()):
                return self._fixed(node)
            kept = first
        return kept.reshape(node.meta["val"].shape)

    def _move(self, node: fx.Node) -> Any:
        arguments, keywords = fx.node.map_arg((node.args, node.kwargs), lambda source: self.labels[source])
        return node.target(*arguments, **keywords)  # type: ignore[operator]

    def _view(self, node: fx.Node) -> Any:
        """Dimensions that become one; a network whose code parts channels has their number in it."""
        into, out = self.labels[_source(node)].shape, node.meta["val"].shape
        return self._move(node) if _merges(into, out) else self._fixed(node)

    def _part(self, node: fx.Node) -> Any:
        """Parts of what is equal all along."""
        labels, place = self.labels[_source(node)], _PARTS[_operation(node)]
        dim: Any = node.args[place] if len(node.args) > place else node.kwargs.get("dim", 0)
        same = labels.stride(dim) == 0 or bool((labels == labels.narrow(dim, 0, 1)).all())
        return self._move(node) if same else self._fixed(node)

    def _batch_norm(self, node: fx.Node) -> Any:
        source = _source(node)
        path = _path(node.args[3], "running_mean")
        channels = _along(self.labels[source], 1)
        if channels is None or not self._can_change(path, nn.BatchNorm2d | nn.BatchNorm1d):
            return self._fixed(node)
        self.found.append((path, node.name, channels.new_zeros(0), channels, 0))
        return self.labels[source]

    def _layer(self, node: fx.Node) -> Any:
        kind = _LAYERS[_operation(node)]
        dim = -1 if kind is nn.Linear else 1
        labels, shape = self.labels[_source(node)], node.meta["val"].shape
        path = _path(node.args[1], "weight")
        channels = _along(labels, dim)
        if not self._can_change(path, kind):
            return self._fixed(node)
        layer: Any = self.model.get_submodule(path)
        macs = shape.numel() // self.batch * layer.weight.numel() // shape[dim]
        if kind is nn.ConvTranspose2d:  # each pixel of the input is multiplied by the whole kernel
            macs = labels.shape[2:].numel() * layer.weight.numel()
        if getattr(layer, "groups", 1) > 1:
            if channels is None or not layer.groups == shape[dim] == labels.shape[dim]:
                return self._fixed(node)
            self.found.append((path, node.name, channels.new_zeros(0), channels, macs))
            return channels.view(1, -1, 1, 1).expand(shape)
        if channels is None:
            self.tie(labels, labels.new_zeros(()))
            channels = labels.new_zeros(labels.shape[dim])
        made = self.fresh(shape[dim])
        self.found.append((path, node.name, channels, made, macs))
        return made.expand(shape) if kind is nn.Linear else made.view(1, -1, 1, 1).expand(shape)

    def _can_change(self, path: str, kind: Any) -> bool:
        """The module is of the kind, can be written down, and takes part once."""
        try:
            module = self.model.get_submodule(path) if path else None
        except AttributeError:
            return False
        if not isinstance(module, kind) or not can_be_noted(module):
            return False
        name = "running_mean" if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) else "weight"
        nodes = self.module.graph.find_nodes(op="get_attr", target=f"{path}.{name}")
        owners = max((self.owners[id(item)] for item in module.parameters(recurse=False)), default=1)
        return sum(len(node.users) for node in nodes) == owners == 1

    # -- what came out --------------------------------------------------------------------------------------------

    def result(self) -> ChannelGraph:
        pairs = torch.cat([torch.zeros(2, 0, dtype=torch.int64), *self.ties], dim=1).numpy()
        parts = components(self.made, pairs[0], pairs[1])
        classes = np.where(parts == parts[0], 0, parts + 1)
        used = np.unique(np.concatenate([[0], *(classes[made.numpy()] for _, _, _, made, _ in self.found)]))
        classes = np.where(np.isin(classes, used), np.searchsorted(used, classes), 0)
        layers = {
            path: ChannelLayer(path, node, classes[reads.numpy()], classes[made.numpy()], macs)
            for path, node, reads, made, macs in self.found
        }
        table = torch.from_numpy(classes)
        values = {name: table[labels] for name, labels in self.watched.items()}
        return ChannelGraph(self.module, self.batch, layers, values, tuple(groups_of(layers, len(used))))


def _handler(name: str) -> Callable[[_Walk, fx.Node], Any] | None:
    tables = (
        (_ELEMENTWISE, _Walk._elementwise), (_PAIRS, _Walk._pair), (_IMAGES, _Walk._image), (_MOVES, _Walk._move),
        (_VIEWS, _Walk._view), (_PARTS, _Walk._part), (_REDUCTIONS, _Walk._reduction), (_LAYERS, _Walk._layer),
        ({"batch_norm"}, _Walk._batch_norm),
    )  # fmt: skip
    return next((handler for names, handler in tables if name in names), None)


def _merges(into: torch.Size, out: torch.Size) -> bool:
    """Each dimension is kept or one with its neighbours; those of size 1 come and go."""
    left = iter([size for size in into if size != 1])
    for size in out:
        product = 1
        while product < size:
            product *= next(left, size + 1)
        if product != size:
            return False
    return True


def _narrow(*tensors: Tensor) -> list[Tensor]:
    """Without the repetitions that all of them, of one shape, have."""
    found = list(tensors)
    for dim in range(found[0].dim()):
        if all(tensor.stride(dim) == 0 for tensor in found):
            found = [tensor.narrow(dim, 0, 1) for tensor in found]
    return found


def _tensors(value: Any) -> list[Tensor]:
    return [item for item in torch.utils._pytree.tree_leaves(value) if isinstance(item, Tensor)]


def _attribute(module: nn.Module, node: fx.Node) -> Tensor:
    value: Any = module
    for name in str(node.target).split("."):
        value = getattr(value, name)
    assert isinstance(value, Tensor)
    return value


def _source(node: fx.Node) -> fx.Node:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    return source


def _path(argument: Any, name: str) -> str:
    """The module whose parameter or buffer of this name a node gives; empty for another."""
    target = argument.target if isinstance(argument, fx.Node) and argument.op == "get_attr" else ""
    path, _, last = str(target).rpartition(".")
    return path if last == name else ""
