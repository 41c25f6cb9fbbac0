"""Profiles differ in memory and time, not in answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small import DATA

import edgexf
from edgexf_runtimes.device.profiles import BALANCED, PROFILES
from edgexf_runtimes.inputs import made
from edgexf_runtimes.session import Session

BUNDLES = DATA / "bundles" / "v1"
SMAPS = Path("/proc/self/smaps_rollup")
WIDTH = 2048  # 16 MiB of weights


def answers(session: Session, length: int) -> dict[str, np.ndarray]:
    inputs = made.inputs(session.path, session.manifest, length)
    explained = session.run_explain(made.explained(session.manifest, session.method(None), inputs))
    return {**session.run(inputs), **{f"explain {name}": array for name, array in explained.items()}}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("name", "dtype"), [("linformer", "fp32"), ("linformer", "q8"), ("tokens", "fp32")])
def test_answers_of_profiles_agree_within_the_bundles_tolerance(name: str, dtype: str, profile: str) -> None:
    """Products of whole numbers are exact, and sums of float32 may be added in another order."""
    with (
        edgexf.load(BUNDLES / name, dtype=dtype, profile="latency", threads=1) as reference,
        edgexf.load(BUNDLES / name, dtype=dtype, profile=profile, threads=1) as session,
    ):
        for length in (8, 97):
            wanted, found = answers(reference, length), answers(session, length)
            for output, array in found.items():
                apart = np.abs(array - wanted[output]).max() / np.abs(wanted[output]).max()
                packed = PROFILES[profile].packs_explain or (
                    PROFILES[profile].packs_predict and "explain" not in output
                )
                assert apart <= (0 if packed else session.manifest.tolerance), (length, output)


def test_the_default_packs_the_weights_of_predictions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr("edgexf_runtimes.device.providers.in_place", lambda options: opened.append(options) or [])
    with edgexf.load(BUNDLES / "tokens", threads=1) as session:
        assert session.settings.profile == BALANCED
        assert opened == []
        session.graphs.opened("attnlrp")
        assert len(opened) == 1


def graphs_of_one_weight(folder: Path) -> None:
    """Writes two graphs of one weight file: x W, and y W^T as an explain graph reads it."""
    onnx = pytest.importorskip("onnx", reason="the graphs are made with onnx")
    from onnx import TensorProto, helper

    weight = np.random.default_rng(0).standard_normal((WIDTH, WIDTH), dtype=np.float32)
    (folder / "model.onnx_data").write_bytes(weight.tobytes())
    tensor = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=weight.shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "model.onnx_data"), ("offset", "0"), ("length", str(weight.nbytes))):
        tensor.external_data.add(key=key, value=value)
    transposed = [helper.make_node("Transpose", ["W"], ["T"]), helper.make_node("MatMul", ["x", "T"], ["y"])]
    for name, nodes in (("model", [helper.make_node("MatMul", ["x", "W"], ["y"])]), ("explain", transposed)):
        value = [helper.make_tensor_value_info(one, TensorProto.FLOAT, ["n", WIDTH]) for one in "xy"]
        graph = helper.make_graph(nodes, name, value[:1], value[1:], [tensor])
        made_by = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        (folder / f"{name}.onnx").write_bytes(made_by.SerializeToString())
    assert onnx.checker.check_model(folder / "explain.onnx") is None


MEASURE = """
import sys
from pathlib import Path
import numpy as np
from edgexf_runtimes.device.profiles import PROFILES, Settings
from edgexf_runtimes.device.providers import create

def kib(kind):
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind + ":"))

settings = Settings(1, ("cpu",), PROFILES[sys.argv[2]])
kept = []
for name in ("model", "explain"):
    before = kib("Pss"), kib("Anonymous")
    kept.append(create(Path(sys.argv[1], f"{name}.onnx"), settings=settings, explains=name == "explain"))
    kept[-1].run(None, {"x": np.ones((8, int(sys.argv[3])), np.float32)})
    print(kib("Pss") - before[0], kib("Anonymous") - before[1])
"""


@pytest.mark.skipif(not SMAPS.exists(), reason="this system does not say how much memory a process shares")
@pytest.mark.parametrize("profile", ["edge", "balanced", "latency"])
def test_explain_beside_predict_adds_copies_of_the_weights_only_where_the_profile_says_so(
    tmp_path: Path, profile: str
) -> None:
    graphs_of_one_weight(tmp_path)
    command = [sys.executable, "-c", MEASURE, str(tmp_path), profile, str(WIDTH)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (_, predict_copies), (added, explain_copies) = [
        [int(number) * 1024 / (4 * WIDTH**2) for number in line.split()] for line in done.stdout.splitlines()
    ]
    assert (predict_copies > 0.9) == PROFILES[profile].packs_predict
    assert (explain_copies > 0.9) == PROFILES[profile].packs_explain
    if profile == "edge":
        assert added <= 0.15  # of the weights, which predict has mapped already
