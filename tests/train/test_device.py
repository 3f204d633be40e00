from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from edgeq.errors import RecipeError
from edgeq.train import device


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda"])
def test_devices_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if name == "cuda":
        with pytest.raises(RecipeError, match=r"no usable CUDA device.*--device auto"):
            device.resolve_device("cuda")
    else:
        assert device.resolve_device(name).type == "cpu"


@pytest.mark.parametrize(("name", "kind"), [("auto", "cuda"), ("cpu", "cpu"), ("cuda", "cuda")])
def test_devices_where_there_is_one(monkeypatch: pytest.MonkeyPatch, name: Any, kind: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.resolve_device(name).type == kind


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 sse\n", "bf16"),
        ("flags\t\t: fpu amx_bf16\n", "bf16"),
        ("Features\t: fp asimd bf16 i8mm\n", "bf16"),
        ("flags\t\t: fpu avx2 avx512f\n", "fp32"),
        ("model name : bf16 machine\n", "fp32"),
        (None, "fp32"),
    ],
)
def test_auto_takes_bf16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, precision: str
) -> None:
    info = tmp_path / "cpuinfo"
    if text is not None:
        info.write_text(text)
    monkeypatch.setattr(device, "CPU_INFO", info)
    assert device.resolve_precision("auto", torch.device("cpu")) == precision


@pytest.mark.parametrize("name", ["bf16", "fp32"])
def test_a_precision_asked_for_is_taken(name: Any) -> None:
    assert device.resolve_precision(name, torch.device("cpu")) == name
