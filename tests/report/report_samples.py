"""Made-up contents of the report page."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from edgeq.grid import Function, Grid, quantize_weight
from edgeq.report.content import BenchedLane, Details, Disagreement, LayerView, OperationTime, ReportInput
from edgeq.report.gather import layer_view
from edgeq.report.thumbnails import thumbnail_uri
from edgeq.verify.report import LayerParity

__all__ = ["CLASSES", "ESTIMATE", "crowded", "disagreement", "full", "history", "layer", "manifest"]

CLASSES = ("cat", "dog", "ship")
ESTIMATE = {"low_ms": 0.5, "mid_ms": 1.0, "high_ms": 2.0, "low_mj": 0.5, "high_mj": None, "basis": "made up"}


def layer(
    name: str = "conv1", bits: int = 8, function: Function = "sine", shape: tuple[int, ...] = (8, 3, 3, 3)
) -> LayerView:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return layer_view(name, quantize_weight(values, Grid(bits, function)), values)


def manifest(name: str = "x") -> dict[str, Any]:
    return {
        "schema": 1,
        "edgeq": "0.1.0",
        "versions": {"torch": name},
        "recipe": {"model": name, "bits": 8, "compress": [{"method": name, "steps": 2, "sparsity": 0.5}]},
        "compress": [
            {
                "method": name,
                "steps": 2,
                "sparsity": 0.5,
                "epochs": epochs,
                "round": epochs,
                "parameters": 1200,
                "macs": 34_000,
                "zeros": 0.25,
                "test_accuracy": 97.5,
            }
            for epochs in (0, 1)
        ],
        "seed": 0,
        "data": {"name": name, "train": 1437, "test": 360, "sha256": "ab" * 32},
        "accuracy": {"float": 98.61, "snapped": 98.61, "onnx": 98.33, "tflite": 98.33, "samples": 360},
        "layers": [{"name": "conv1", "distance": 0.125}],
        "parity": {"max_code_difference": 1, "top1_agreement": 100.0, "samples": 360, "codes": 9, "codes_kept": 9},
        "artifacts": [
            {"path": name, "bytes": 301234, "sha256": "cd" * 32},
            {"path": "checkpoint.safetensors", "bytes": 400, "sha256": "cd" * 32},
            {"path": "model.tflite", "bytes": 100, "sha256": "cd" * 32},
        ],
        "stages": [{"name": name, "seconds": 1.5, "peak_rss_mb": 400.0}],
        "bench": [
            {
                "target": name,
                "via": "qemu",
                "lane": name,
                "basis": "estimate",
                "equal_bytes": True,
                "instructions": 4_459_507,
                "estimate": ESTIMATE | {"basis": name},
            }
        ],
    }


def history(epochs: int = 4) -> tuple[dict[str, float], ...]:
    return tuple(
        {
            "epoch": float(epoch),
            "loss": 1 / (epoch + 1),
            "train_accuracy": 90.0,
            "test_accuracy": 80.0,
            "learning_rate": 0.1,
            "amplitude": 10.0 ** (epoch % 20 - 25),
            "eta": 0.0,
            "distance": 0.2,
            "share_on_grid": 0.5,
        }
        for epoch in range(epochs)
    )


def disagreement(label: int = 0, float_class: int = 1, int8_class: int = 2, seed: int = 0) -> Disagreement:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Disagreement(thumbnail_uri(pixels), label, float_class, int8_class, 0.51, 0.994)


def full(name: str = "x", classes: tuple[str, ...] = CLASSES, disagreements: int = 2) -> ReportInput:
    return ReportInput(
        manifest=manifest(name),
        details=Details(
            command=f"edgeq build {name}",
            history=history(),
            confusion=tuple((index, index, 7) for index in range(len(classes))),
            disagreements={"float": 1, "int8": 0, "neither": disagreements - 1},
            shown=tuple(disagreement(seed=seed) for seed in range(disagreements)),
        ),
        layers=[layer(), layer(name, bits=4)],
        parity=[LayerParity(name, name, 1, 0, True), LayerParity("y", "SOFTMAX", None, 0, False, name)],
        classes=classes,
        recipe_toml=f"# {name}",
        bench=[
            BenchedLane(name, "", (OperationTime(name, name, 0, 3, 0.5, None), OperationTime("x", "y", 9, 3, 1, 0.5)))
        ],
    )


def crowded(classes: int, roofline: str = "") -> ReportInput:
    """A large network with long names everywhere."""
    names = tuple(f"a class with quite a long name, of which there are several, {index}" for index in range(classes))
    cells = [(a, b, 40 if a == b else 1) for a in range(classes) for b in (a, (7 * a + 3) % classes)]
    layers = [
        layer(
            f"backbone.stages.{index}.blocks.{index}.depthwise_separable.pointwise_convolution", 4 if index % 2 else 8
        )
        for index in range(180)
    ]
    operations = tuple(
        OperationTime("DEPTHWISE_CONV_2D", f"{row.name}.activation", 12_345_678, 123_456, 0.01 + index, 0.42)
        for index, row in enumerate(layers)
    )
    small = full("mobilenet_with_a_rather_long_name_that_somebody_gave_it", names)
    return dataclasses.replace(
        small,
        details=dataclasses.replace(
            small.details,
            history=history(300),
            confusion=tuple(dict.fromkeys(cells)),
            shown=tuple(disagreement(seed=seed) for seed in range(24)),
        ),
        layers=layers,
        parity=[LayerParity(row.name, "DEPTHWISE_CONV_2D", 1, 0, False, "no reason " * 9) for row in layers],
        recipe_toml="model = 'x'\n" * 40 + "# " + "0123456789" * 30,
        bench=[BenchedLane("tflite-runtime 2.14 with gemmlowp and ruy on one cortex-a7 core", roofline, operations)],
    )
