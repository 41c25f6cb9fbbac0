"""Integer products on a processor with AVX2 alone, whose sums of signed bytes saturate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from other_processors import avx2_alone

ROOT = Path(__file__).parents[2]
QUANTIZED = [f"tests/passes/quantize/test_{name}.py" for name in ("balance", "int8", "walk")]
# 255 x 127, 64 times: pairs of such products don't fit into 16 bits.
PRODUCT = """
import numpy as np, onnxruntime as ort
from onnx import TensorProto, helper
from edgexf_runtimes.device.device import saturates
values = [helper.make_tensor_value_info(*one) for one in (("x", TensorProto.UINT8, [8, 64]), ("w", TensorProto.INT8, [64, 8]), ("y", TensorProto.INT32, [8, 8]))]
graph = helper.make_graph([helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "g", values[:2], values[2:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
session = ort.InferenceSession(model.SerializeToString())
(found,) = session.run(None, {"x": np.full((8, 64), 255, np.uint8), "w": np.full((64, 8), 127, np.int8)})
assert saturates() == (found[0, 0] != 255 * 127 * 64), (saturates(), found[0, 0])
print(saturates())
"""


@pytest.fixture(scope="module", autouse=True)
def able() -> None:
    try:
        with avx2_alone.changer():
            return
    except RuntimeError as error:
        pytest.skip(str(error))


def changed(*command: str) -> str:
    """What a command prints on the other processor."""
    script = [sys.executable, avx2_alone.__file__, sys.executable, *command]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_said_to_saturate_does() -> None:
    assert changed("-c", PRODUCT).strip() == "True"


def test_weights_are_stored_so_that_no_product_saturates() -> None:
    """The tests of integer layers pass there too."""
    assert " passed" in changed("-m", "pytest", "-p", "no:cacheprovider", "--no-header", "-o", "addopts=", *QUANTIZED)
