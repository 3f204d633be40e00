"""Make the QDQ models of other producers that the tests read: one small network, one function a producer.

python make.py PRODUCER      in an environment that has it; writes its .onnx files beside this script

float        torch 2.13.0, onnx 1.23
onnxruntime  onnxruntime 1.31.1
nncf         nncf 3.4.0 (ONNX backend)
brevitas     brevitas 0.13.4, torch 2.13.0
modelopt     nvidia-modelopt 0.47.0, torch 2.13.0

The weights are random with a fixed seed; so are the images that calibrate.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SHAPE = (3, 12, 16)
COUNT = 16


def images() -> Any:
    return np.random.default_rng(5).standard_normal((COUNT, *SHAPE)).astype(np.float32)


def network(layers: Any = None, *, width: int = 8, norms: bool = True) -> Any:
    """A strided convolution, a residual block, a depthwise and a pointwise convolution, a concatenation, a global
    pool and a classifier. ``layers`` gives Conv2d, Linear and ReLU of a quantized library; without ``norms`` a bias
    stands where a batch norm would."""
    import torch
    from torch import nn

    torch.manual_seed(3)
    kit, classes = layers or nn, 7 if width == 8 else 24

    def norm() -> Any:
        return nn.BatchNorm2d(width) if norms else nn.Identity()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.stem_norm = kit.Conv2d(3, width, 3, 2, 1, bias=not norms), norm()
            self.one, self.one_norm = kit.Conv2d(width, width, 3, 1, 1, bias=not norms), norm()
            self.two, self.two_norm = kit.Conv2d(width, width, 3, 1, 1, bias=not norms), norm()
            self.deep, self.deep_norm = kit.Conv2d(width, width, 3, 1, 1, groups=width, bias=not norms), norm()
            self.point = kit.Conv2d(width, width + 4, 1)
            self.relus = nn.ModuleList(kit.ReLU() for _ in range(5))
            self.pool, self.mean, self.flat = nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            self.head = kit.Linear(2 * width + 4, classes)
            self.joint = kit.Joint() if hasattr(kit, "Joint") else nn.Identity()
            self.ends = kit.Joint() if hasattr(kit, "Joint") else nn.Identity()

        def forward(self, x: Any) -> Any:
            x = self.pool(self.relus[0](self.stem_norm(self.stem(x))))
            y = self.two_norm(self.two(self.relus[1](self.one_norm(self.one(x)))))
            x = self.relus[2](self.joint(y) + self.joint(x))
            y = self.relus[4](self.point(self.relus[3](self.deep_norm(self.deep(x)))))
            x = self.ends(torch.cat([self.joint(x), self.joint(y)], 1))
            return self.head(self.flat(self.mean(x)))

    net = Net()
    generator = torch.Generator().manual_seed(4)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, low, high in (("weight", 0.5, 1.5), ("bias", -0.3, 0.3), ("running_mean", -0.2, 0.2),
                                    ("running_var", 0.3, 1.5)):  # fmt: skip
                getattr(module, name).data.uniform_(low, high, generator=generator)
            module.weight.data[2] *= -1
    return net.eval()


def save(model: Any, name: str) -> None:
    """Written without the paths and doc strings that some exporters leave."""
    import onnx

    for node in model.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    for item in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del item.metadata_props[:]
    onnx.checker.check_model(model)
    path = HERE / f"{name}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    print(path.name, path.stat().st_size)


# --- the producers ------------------------------------------------------------------------------------------------


def export(net: Any, name: str | Path, **options: Any) -> Any:
    import onnx
    import torch

    arguments: Any = (torch.zeros(1, *SHAPE),)
    torch.onnx.export(net, arguments, name, dynamo=False, opset_version=17, input_names=["image"],
                      output_names=["logits"], **options)  # fmt: skip
    return onnx.load(name)


def make_float() -> None:
    import torch

    batch = {"image": {0: "batch"}, "logits": {0: "batch"}}
    with tempfile.TemporaryDirectory() as folder:
        model = export(network(), f"{folder}/float.onnx", dynamic_axes=batch, do_constant_folding=False,
                       training=torch.onnx.TrainingMode.PRESERVE)  # fmt: skip
        save(model, "float")


def make_onnxruntime() -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rows: Iterator[Any] = iter([{"image": image[None]} for image in images()])

        def get_next(self) -> Any:
            return next(self.rows, None)

    signed, unsigned = QuantType.QInt8, QuantType.QUInt8
    qdq, integers = QuantFormat.QDQ, QuantFormat.QOperator
    rows: dict[str, dict[str, Any]] = {
        "ort_int8": {"quant_format": qdq, "activation_type": signed, "per_channel": True},
        "ort_uint8": {"quant_format": qdq, "activation_type": unsigned, "reduce_range": True},
        "ort_plain": {"quant_format": qdq, "activation_type": signed},
        "ort_unsigned_weights": {"quant_format": qdq, "activation_type": unsigned, "weight_type": unsigned,
                                 "extra_options": {"WeightSymmetric": True}},
        "ort_qoperator": {"quant_format": integers, "activation_type": unsigned, "per_channel": True},
        "ort_qoperator_int8": {"quant_format": integers, "activation_type": signed},
        "ort_float_weights": {"quant_format": qdq, "activation_type": signed, "per_channel": True,
                              "extra_options": {"AddQDQPairToWeight": True}},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        ready, out = f"{folder}/ready.onnx", f"{folder}/out.onnx"
        quant_pre_process(HERE / "float.onnx", ready)
        for name, options in rows.items():
            source = HERE / "float.onnx" if name == "ort_plain" else ready
            quantize_static(source, out, Reader(), **{"weight_type": signed, **options})
            save(onnx.load(out), name)


def make_nncf() -> None:
    import nncf
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    data = nncf.Dataset(images(), lambda image: {"image": image[None]})
    performance, mixed = nncf.QuantizationPreset.PERFORMANCE, nncf.QuantizationPreset.MIXED
    with tempfile.TemporaryDirectory() as folder:
        quant_pre_process(
            HERE / "float.onnx", f"{folder}/ready.onnx", skip_symbolic_shape=True
        )  # folds the batch norms
        ready, whole = onnx.load(f"{folder}/ready.onnx"), onnx.load(HERE / "float.onnx")
        for name, model, preset in (("nncf", ready, performance), ("nncf_mixed", ready, mixed),
                                    ("nncf_batch_norm", whole, performance)):  # fmt: skip
            save(nncf.quantize(model, data, preset=preset, subset_size=COUNT), name)


def make_brevitas() -> None:
    import brevitas.nn as qnn
    import onnx
    import torch
    from brevitas.export import export_onnx_qcdq
    from brevitas.graph.calibrate import calibration_mode
    from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat, Int32Bias, Uint8ActPerTensorFloat
    from torch import nn

    def kit(bits: int) -> Any:
        class Kit:
            @staticmethod
            def Conv2d(*arguments: Any, **options: Any) -> Any:  # noqa: N802
                return qnn.QuantConv2d(*arguments, **options, weight_quant=Int8WeightPerChannelFloat,
                                       weight_bit_width=bits, bias_quant=Int32Bias,
                                       return_quant_tensor=True)  # fmt: skip

            @staticmethod
            def Linear(*arguments: Any) -> Any:  # noqa: N802
                return qnn.QuantLinear(*arguments, bias=True, weight_bit_width=bits, bias_quant=Int32Bias,
                                       output_quant=Int8ActPerTensorFloat)  # fmt: skip

            @staticmethod
            def ReLU() -> Any:  # noqa: N802
                return qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=bits, return_quant_tensor=True)

            @staticmethod
            def Joint() -> Any:  # noqa: N802
                return qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, bit_width=bits, return_quant_tensor=True)

        return Kit

    for name, bits, norms in (("brevitas", 8, False), ("brevitas_batch_norm", 8, True), ("brevitas_4bit", 4, False)):
        entry = qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, return_quant_tensor=True)
        model = nn.Sequential(entry, network(kit(bits), norms=norms)).eval()
        with torch.no_grad(), calibration_mode(model):
            for image in images():
                model(torch.from_numpy(image[None]))
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/out.onnx"
            export_onnx_qcdq(model, torch.zeros(1, *SHAPE), path, opset_version=17, input_names=["image"],
                             output_names=["logits"], dynamo=False)  # fmt: skip
            save(onnx.load(path), name)


def make_modelopt() -> None:
    import modelopt.torch.quantization as mtq
    import onnx
    import torch
    from modelopt.onnx.quantization import quantize

    def loop(model: Any) -> None:
        for image in images():
            model(torch.from_numpy(image[None]))

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/out.onnx"
        # It leaves convolutions of 16 channels and fewer in float, and writes into its input's folder.
        export(network(width=20, norms=False), f"{folder}/wide.onnx")
        for name, kind in (("modelopt", "fp32"), ("modelopt_fp16", "fp16")):
            quantize(f"{folder}/wide.onnx", quantize_mode="int8", calibration_data={"image": images()},
                     calibration_method="max", calibration_eps=["cpu"], output_path=path,
                     high_precision_dtype=kind)  # fmt: skip
            save(onnx.load(path), name)
        for name, norms in (("modelopt_torch", False), ("modelopt_torch_batch_norm", True)):
            save(export(mtq.quantize(network(norms=norms), mtq.INT8_DEFAULT_CFG, loop), path), name)


PRODUCERS: dict[str, Callable[[], None]] = {
    "float": make_float,
    "onnxruntime": make_onnxruntime,
    "nncf": make_nncf,
    "brevitas": make_brevitas,
    "modelopt": make_modelopt,
}

if __name__ == "__main__":
    PRODUCERS[sys.argv[1]]()
