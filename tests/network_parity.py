"""A network with random weights through ``edgeq export`` and then through every runtime, side by side."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeq.models import save_weights
from edgeq.onnx_file import load_onnx
from edgeq.onnx_session import open_session
from edgeq.posttraining import ExportRequest, export_module
from edgeq.tflite.read import read_graph
from edgeq.verify.few_samples import file_input
from edgeq.verify.litert import run

__all__ = ["export_and_compare", "export_random", "randomize"]

RUNTIME_PYTHON = "EDGEQ_TFLITE_RUNTIME_PYTHON"  # a Python with tflite-runtime 2.14 and numpy 1, where there is one
CALIBRATION_SAMPLES = 8

TOKENS = ("cls_token", "pos_embed")
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)

OLD_RUNTIME = """
import sys, numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType
path, inputs, outputs, kernels = sys.argv[1:]
resolver = OpResolverType.BUILTIN_REF if kernels == "reference" else OpResolverType.AUTO
interpreter = Interpreter(path, num_threads=1, experimental_op_resolver_type=resolver)
interpreter.allocate_tensors()
slot, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
rows = []
for row in np.load(inputs):
    interpreter.set_tensor(slot, row[None])
    interpreter.invoke()
    rows.append(interpreter.get_tensor(result)[0])
np.save(outputs, np.stack(rows))
"""


def randomize(model: nn.Module, input_shape: tuple[int, ...], seed: int = 0) -> None:
    """Give a new network what training leaves behind: norms that shift, scale and flip, statistics of real activations,
    tokens and positions as large as what they stand beside (new ones, of 0.02, are less than a step of its grid).

    Args:
        model: changed in place; left in evaluation mode.
        input_shape: without the batch.
        seed: all depends on it alone.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, NORMS):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.weight.mul_(torch.where(torch.rand(module.weight.shape, generator=generator) < 0.2, -1.0, 1.0))
                module.bias.normal_(0, 0.3, generator=generator)
                if not isinstance(module, nn.LayerNorm):
                    module.momentum = 1.0
            elif isinstance(bias := getattr(module, "bias", None), nn.Parameter):
                bias.normal_(0, 0.1, generator=generator)
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2] in TOKENS:
                parameter.normal_(0, 1, generator=generator)
        model.train()(torch.randn(8, *input_shape, generator=generator))
    model.eval()


def export_random(name: str, model: nn.Module, input_shape: tuple[int, ...], folder: Path, classes: int) -> Path:
    """``edgeq export`` of ``--model NAME`` with the weights of ``model`` as its checkpoint; the output folder."""
    generator = np.random.default_rng(1)
    samples = generator.standard_normal((CALIBRATION_SAMPLES, *input_shape)).astype(np.float32)
    np.savez(folder / "set.npz", inputs=samples)
    save_weights(model, folder / "net.safetensors")
    request = ExportRequest(str(folder / "set.npz"))
    export_module(name, [input_shape], request, folder / "out", checkpoint=folder / "net.safetensors", classes=classes)
    return folder / "out"


def export_and_compare(
    name: str, model: nn.Module, input_shape: tuple[int, ...], folder: Path, *, classes: int, samples: int
) -> dict[str, Any]:
    """Export a network and run it on new inputs in PyTorch, onnxruntime, LiteRT and tflite-runtime, if there is one.

    Args:
        name: as ``--model`` takes it.
        model: the same network with its weights.
        input_shape: without the batch.
        folder: for the files.
        classes: outputs of a built-in network.
        samples: inputs to compare on.

    Returns:
        What docs/results/networks.json says of a network. Differences are in codes: the largest in one operation fed
        equal codes, and the largest of the whole network against LiteRT with XNNPACK; ``top1`` is the share of
        the inputs (of a map's pixels) for which onnxruntime has LiteRT's class first, or one code below, and of an
        image's values that are equal.
    """
    out = export_random(name, model, input_shape, folder, classes)
    manifest = json.loads((out / "manifest.json").read_text())
    content = (out / "model.tflite").read_bytes()
    graph = read_graph(content)
    inputs = np.random.default_rng(2).standard_normal((samples, *input_shape)).astype(np.float32)
    fed = file_input(inputs, graph.tensors[graph.inputs[0]])
    codes = {"xnnpack": run(content, [fed])[0], "reference": run(content, [fed], "reference")[0]}
    session = open_session(load_onnx(out / "model.onnx"), optimize=True)
    real = np.concatenate([session.run(None, {"input": row[None]})[0] for row in inputs])
    codes["onnxruntime"] = file_input(real, graph.tensors[graph.outputs[0]])
    old = _old_runtime(out / "model.tflite", fed, folder)
    codes |= {key: value for key, value in old.items() if not isinstance(value, str)}
    with torch.no_grad():
        floats = model(torch.from_numpy(inputs)).numpy()
    kinds = Counter(operator.kind for operator in graph.operators)
    return {
        "parameters": sum(value.numel() for value in model.parameters()),
        "input": list(input_shape),
        "bytes": len(content),
        "layers": len(manifest["layers"]),
        "operations": len(graph.operators),
        "transposes": kinds["TRANSPOSE"],
        "delegated": sum(layer["delegated"] for layer in manifest["parity"]["layers"]),
        "layer_difference": manifest["parity"]["max_code_difference"],
        "final_difference": {key: _apart(codes[key], codes["xnnpack"]) for key in codes if key != "xnnpack"},
        "top1": _agreement(codes["onnxruntime"], codes["xnnpack"], classes),
        "top1_float": _agreement(file_input(floats, graph.tensors[graph.outputs[0]]), codes["xnnpack"], classes),
        "refused": {key: value for key, value in old.items() if isinstance(value, str)},
        "samples": samples,
    }


def _old_runtime(path: Path, fed: NDArray[Any], folder: Path) -> dict[str, Any]:
    """The outputs of tflite-runtime 2.14, or what it says against the file."""
    python = os.environ.get(RUNTIME_PYTHON)
    if not python:
        return {}
    results: dict[str, Any] = {}
    np.save(folder / "fed.npy", fed)
    for kernels in ("default", "reference"):
        arguments = [str(path), str(folder / "fed.npy"), str(folder / "result.npy"), kernels]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [python, "-c", OLD_RUNTIME, *arguments], capture_output=True, text=True, env=environment, check=False
        )
        key = f"tflite-runtime, {kernels}"
        results[key] = np.load(folder / "result.npy") if not done.returncode else done.stderr.strip().splitlines()[-1]
    return results


def _apart(one: NDArray[Any], other: NDArray[Any]) -> int:
    return int(np.abs(np.subtract(one, other, dtype=np.int16)).max())


def _agreement(one: NDArray[Any], other: NDArray[Any], classes: int) -> float:
    """The share of the rows that name one class: its code is the highest in both, or one below, which is a tie."""
    if one.shape[-1] == classes:
        chosen = np.take_along_axis(one.astype(np.int16), other.argmax(-1)[..., None], -1)[..., 0]
        same = chosen >= one.max(-1).astype(np.int16) - 1
    else:
        same = one == other
    return round(100 * float(same.mean()), 2)
