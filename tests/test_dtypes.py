"""The records of dtypes: each mode fits its record, and no two records contradict each other."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgexf.dtypes import DEVICES, DTYPES, FP32, MODES, NAMES, Dtype, dtype_named, in_dtype, preferred
from edgexf.passes.quantize.modes import modes


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype.mode], ids=lambda dtype: dtype.name)
def test_a_recipe_makes_the_dtype_of_its_record(dtype: Dtype) -> None:
    mode = modes()[dtype.mode]
    assert (mode.dtype, mode.name) == (dtype.name, dtype.mode)
    assert mode.scheme is not None or mode.convert is not None
    assert 0 < mode.tolerance <= 0.5


def test_names_files_and_modes_are_told_apart() -> None:
    assert len(set(NAMES)) == len({dtype.suffix for dtype in DTYPES}) == len(DTYPES)
    assert list(modes()) == list(MODES)
    assert len(set(MODES)) == len(MODES)
    assert in_dtype("onnx/explain_gradient.onnx", "q8") == "onnx/explain_gradient_quantized.onnx"
    assert in_dtype("onnx/model.onnx", FP32) == "onnx/model.onnx"


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_has_one_order_of_preference(device: str) -> None:
    places = [getattr(dtype, device) for dtype in DTYPES if getattr(dtype, device)]
    assert sorted(places) == list(range(1, len(places) + 1))
    assert FP32 not in preferred(device)


def test_a_cpu_never_takes_half_precision_and_wasm_takes_whole_numbers() -> None:
    assert not any("fp16" in name or "f16" in name for name in preferred("cpu"))
    assert preferred("wasm") == ["q8"]
    assert dtype_named("q8").batch_dependent
    assert not dtype_named("int8").batch_dependent


def test_the_command_line_lists_modes_and_dtypes_without_loading_what_makes_them() -> None:
    code = (
        "import sys; from edgexf.cli import main\n"
        "try: main(['quantize', '--help'])\n"
        "finally: print('LOADED', *[name for name in ('onnx', 'onnx_ir', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1] == "LOADED", done.stdout
    assert ", ".join(MODES) in " ".join(done.stdout.split())
