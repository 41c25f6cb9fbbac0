"""Strict and lenient providers: what was asked for is what runs, or a sentence says what there is."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from small import DATA

import edgexf
from edgexf.bundle.formula import size_of
from edgexf.bundle.manifest import Graph, Manifest
from edgexf.errors import BundleError, UsageError
from edgexf_runtimes.device import plugins, providers, shapes, structure
from edgexf_runtimes.device.asked import asked
from edgexf_runtimes.device.dtype import choose
from edgexf_runtimes.device.profiles import Settings
from edgexf_runtimes.inputs.labelled import Labelled
from edgexf_runtimes.inputs.preprocess import batches
from edgexf_runtimes.measure import faithfulness
from edgexf_runtimes.session import Session

BUNDLES = DATA / "bundles" / "v1"
LINFORMER = BUNDLES / "linformer"
IDS = np.array([[257, 1, 2, 3, 4, 5, 6, 7]])
CUDA = asked("cuda")[0]


class Assigned:
    """A session whose nodes run where a test says, on `first` before all. A node's name is that of its operator, if the test
    gives none.
    """

    def __init__(self, first: str, nodes: Sequence[tuple[str, ...]] = ()) -> None:
        self.first, self.nodes = first, nodes

    def get_providers(self) -> list[str]:
        return [self.first]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [
            types.SimpleNamespace(
                ep_name=provider,
                get_nodes=lambda kind=kind, name=name: [types.SimpleNamespace(op_type=kind, name=(*name, kind)[0])],
            )
            for provider, kind, *name in self.nodes
        ]


SIZES = [("CUDAExecutionProvider", "MatMul"), ("CPUExecutionProvider", "Shape"), ("CPUExecutionProvider", "Gather")]
MORE = [*SIZES, ("CPUExecutionProvider", "LSTM"), ("CPUExecutionProvider", "LSTM")]


def test_a_provider_that_is_lacking_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(
        UsageError, match=r"of this onnxruntime \(cpu.*\), got cuda; install onnxruntime-gpu in place of"
    ):
        edgexf.load(LINFORMER, providers=("cuda", {"device_id": 1}))
    with pytest.raises(UsageError, match="got webgpu; install onnxruntime-ep-webgpu"):
        edgexf.load(LINFORMER, providers=["webgpu", "cpu"])


def test_a_lenient_session_runs_on_the_cpu_and_says_so() -> None:
    with pytest.warns(UserWarning, match="got cuda.*the CPU runs in its place"):
        session = edgexf.load(LINFORMER, providers="cuda", strict=False)
    with session, edgexf.load(LINFORMER) as plain:
        assert (session.run(input_ids=IDS)["logits"] == plain.run(input_ids=IDS)["logits"]).all()
        assert session.dtype == plain.dtype  # not the one that a GPU prefers


def test_nodes_of_sizes_may_run_on_the_cpu_and_others_may_not() -> None:
    """ONNX Runtime keeps the nodes of sizes there on purpose; its own switch (disable_cpu_ep_fallback) refuses them too."""
    path = LINFORMER / "onnx" / "model.onnx"  # it holds no nodes of these names
    providers.check_rest(Assigned(CUDA.provider.ort, SIZES), CUDA, Settings(), path)
    with pytest.raises(
        UsageError, match=r"cuda must run every node but those of sizes, got 2 of 5 on the CPU \(2 LSTM\)"
    ):
        providers.check_rest(Assigned(CUDA.provider.ort, MORE), CUDA, Settings(), path)
    with pytest.warns(UserWarning, match=r"2 of 5 nodes run on the CPU, since cuda does not run them \(2 LSTM\)"):
        providers.check_rest(Assigned(CUDA.provider.ort, MORE), CUDA, Settings(strict=False), path)
    openvino = asked("openvino")[0]
    nodes = [(openvino.provider.ort, "MatMul"), ("CPUExecutionProvider", "Shape")]
    with pytest.raises(UsageError, match="got 1 of 2 on the CPU"):
        providers.check_rest(Assigned(openvino.provider.ort, nodes), openvino, Settings(), path)


def test_a_node_that_reads_weights_on_the_cpu_is_seen_though_others_of_its_operator_compute_sizes(
    tmp_path: Path,
) -> None:
    """What feeds a node tells: a Gather picks a size, and another one reads the table of embeddings."""
    small, large = np.zeros(structure.SMALL, dtype=np.int64), np.zeros((structure.SMALL + 1, 4), dtype=np.float32)
    constants = {"zero": np.array(0), "small": small, "table": large, "bias": large[0]}
    nodes = [
        ("Shape", ["ids"], "shape"), ("Gather", ["shape", "zero"], "length"), ("Gather", ["table", "ids"], "embedded"),
        ("Add", ["embedded", "bias"], "moved"), ("Add", ["small", "length"], "places"), ("Shape", ["moved"], "again"),
        ("Concat", ["again", "shape"], "both"), ("Slice", ["moved", "zero", "zero"], "part"),
    ]  # fmt: skip
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, inputs, [name], name=name) for kind, inputs, name in nodes], "graph",
        [onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["batch"])],
        [onnx.helper.make_tensor_value_info("both", onnx.TensorProto.INT64, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    onnx.save(onnx.helper.make_model(graph), tmp_path / "graph.onnx")
    wrong = {"embedded", "moved", "part"}
    assert structure.of_sizes(tmp_path / "graph.onnx") == {name: name not in wrong for _, _, name in nodes}
    for kind, _, name in nodes:
        session = Assigned(CUDA.provider.ort, [("CPUExecutionProvider", kind, name)])
        with (
            pytest.raises(UsageError, match=rf"got 1 of 1 on the CPU \(1 {kind}\)") if name in wrong else nullcontext()
        ):
            providers.check_rest(session, CUDA, Settings(), tmp_path / "graph.onnx")


@pytest.mark.parametrize("name", ["linformer", "longformer", "reformer", "decoder"])
def test_the_structure_of_a_graph_is_that_of_the_package_onnx(name: str) -> None:
    """Names, and what feeds each node, by a second definition: backwards from the node instead of forwards."""
    path = min((BUNDLES / name / "onnx").glob("*.onnx"))
    graph = onnx.load(path, load_external_data=False).graph
    maker = {output: node for node in graph.node for output in node.output if output}
    size = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}

    @cache
    def small(value: str) -> bool:
        if value in maker:
            node = maker[value]
            return node.op_type in ("Shape", "Size") or all(map(small, node.input))
        return size.get(value, 0) <= structure.SMALL

    assert structure.of_sizes(path) == {node.name: small(node.output[0]) for node in graph.node}


def test_a_provider_that_did_not_start_is_an_error_or_a_warning() -> None:
    other = Assigned("CPUExecutionProvider")
    with pytest.raises(UsageError, match="got CPUExecutionProvider for CUDAExecutionProvider; check its driver"):
        providers.check_first(other, CUDA, Settings())
    with pytest.warns(UserWarning, match="the CPU runs in its place"):
        assert not providers.check_first(other, CUDA, Settings(strict=False))


def test_without_placement_a_provider_that_leaves_sizes_to_the_cpu_must_name_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for owner in ort.InferenceSession.__mro__:
        if "get_provider_graph_assignment_info" in vars(owner):
            monkeypatch.delattr(owner, "get_provider_graph_assignment_info")
    with pytest.raises(UsageError, match=r"cuda as the only provider needs onnxruntime 1\.24 or later"):
        providers.watch(ort.SessionOptions(), CUDA, Settings())
    options = ort.SessionOptions()
    providers.watch(options, asked("openvino")[0], Settings())
    assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
    with edgexf.load(LINFORMER) as session, pytest.raises(UsageError, match=r"placement needs onnxruntime 1\.24"):
        session.placement()


def test_a_graph_that_onnxruntime_refuses_is_one_sentence_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"broken\.onnx must be a graph"):
        providers.create(tmp_path / "broken.onnx")
    assert capfd.readouterr().out == ""


def test_onnxruntime_does_not_retry_on_the_cpu_by_itself(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its Python binding would print that it falls back, to standard output, and open the graph on the CPU."""

    def fail(session: Any, wanted: Any, *_: Any) -> None:
        session._fallback_providers = ["CPUExecutionProvider"]  # as onnxruntime does first
        if wanted != ["CPUExecutionProvider"]:
            raise RuntimeError("no driver")

    monkeypatch.setattr(ort.InferenceSession, "_create_inference_session", fail)
    with pytest.raises(BundleError, match=r"can load on cpu, got: no driver; update onnxruntime"):
        providers.create(LINFORMER / "onnx" / "model.onnx")
    assert capfd.readouterr().out == ""


def test_options_follow_from_the_settings_and_the_caller_has_the_last_word() -> None:
    def options(wanted: Any, threads: int = 1) -> dict[str, str]:
        settings = Settings(threads, wanted)
        return dict(providers.with_options(settings, None, Path("model.onnx"))[0].options)

    assert options("cuda") == {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    assert options(("cuda", {"use_tf32": 1}))["use_tf32"] == "1"
    assert options("openvino", threads=2)["num_of_threads"] == "2"


def graphs() -> list[tuple[Manifest, Graph]]:
    found = []
    for folder in sorted(path for path in BUNDLES.iterdir() if path.is_dir()):
        manifest = edgexf.bundle.read(folder)
        found += [(manifest, graph) for graph in manifest.variants]
    return found


@pytest.mark.parametrize(
    ("manifest", "graph"), graphs(), ids=lambda one: getattr(one, "file", getattr(one, "name", ""))
)
def test_the_shapes_for_tensorrt_hold_every_varying_input_within_the_limits(manifest: Manifest, graph: Graph) -> None:
    options = shapes.profile("trt_profile_{}_shapes", manifest, graph)
    least, usual, most = (
        {name: list(map(int, sizes.split("x"))) for name, sizes in (one.split(":") for one in options[key].split(","))}
        for key in (f"trt_profile_{which}_shapes" for which in ("min", "opt", "max"))
    )
    varying = {tensor.name for tensor in graph.inputs if any(isinstance(size, str) for size in tensor.shape)}
    assert set(least) == set(usual) == set(most) == varying
    for name in varying:
        assert all(a <= b <= c for a, b, c in zip(least[name], usual[name], most[name], strict=True))
    if manifest.signature is None:
        assert least["input_ids"][-1] == manifest.limits.min_length
        assert most["input_ids"][-1] == manifest.limits.max_length
    else:
        known = {axis.name: axis.most for axis in manifest.signature.axes if axis.name != manifest.signature.samples}
        known[manifest.signature.samples] = shapes.MOST_ROWS
        for tensor in graph.inputs[: len(manifest.variants[0].inputs)]:
            if tensor.name in varying:
                assert most[tensor.name] == [size_of(axis, known) for axis in tensor.shape]


def test_shapes_that_a_caller_gives_take_the_place_of_ours() -> None:
    manifest = edgexf.bundle.read(LINFORMER)
    path = LINFORMER / manifest.variants[0].file

    def options(wanted: Any) -> set[str]:
        return set(providers.with_options(Settings(1, wanted), manifest, path)[0].options)

    ours = {f"trt_profile_{which}_shapes" for which in ("min", "opt", "max")}
    assert options("tensorrt") == ours
    assert options(("tensorrt", {"trt_profile_min_shapes": "input_ids:1x2"})) == {"trt_profile_min_shapes"}


def test_a_run_has_no_more_rows_than_the_shapes_allow() -> None:
    most = providers.most_rows(Settings(providers=("tensorrt", "cuda")))
    assert most == shapes.MOST_ROWS
    assert providers.most_rows(Settings()) is None
    found = list(batches([5] * 40, edgexf.bundle.read(LINFORMER).limits, most=most))
    assert [len(batch) for batch in found] == [16, 16, 8]


def test_methods_that_run_many_rows_keep_to_the_shapes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    with edgexf.load(LINFORMER, on_run=lambda run: runs.append(run.batch)) as session:
        monkeypatch.setattr(session, "settings", Settings(providers=("tensorrt", "cuda")))
        session.explain("x" * 60, method="kernel-shap")
        deletion_curves(session)
    assert max(runs) == shapes.MOST_ROWS


def deletion_curves(session: Session) -> None:
    about = faithfulness.subject(session, Labelled("x" * 60, None), 256, "logit")
    about.values(np.ones((40, 61), dtype=bool))


def test_a_provider_without_preferred_dtypes_takes_fp32() -> None:
    manifest = edgexf.bundle.read(LINFORMER)
    assert {graph.dtype for graph in manifest.variants} > {"fp32"}
    assert choose(LINFORMER, manifest, "openvino") == "fp32"


@pytest.mark.skipif(
    not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"),
    reason="needs onnxruntime 1.24, as its error says on an older one",
)
def test_placement_tells_the_shares_by_name_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with edgexf.load(LINFORMER) as session:
        found = session.placement()
        explained = session.placement(session.method(None))
    assert found.nodes == found.time == explained.nodes == explained.time == {"cpu": 1.0}
    assert list(tmp_path.iterdir()) == []


PLUGIN = "onnxruntime_ep_openvino"
has_plugins = pytest.mark.skipif(
    not hasattr(ort, "register_execution_provider_library"),
    reason="needs onnxruntime 1.23, as its error says on an older one",
)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An installed plugin package whose library is no library."""
    (tmp_path / PLUGIN).mkdir()
    (tmp_path / PLUGIN / "__init__.py").write_text(
        f"def get_library_path():\n    return {str(tmp_path / 'none.so')!r}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_registered", set())
    monkeypatch.setattr(plugins, "built_in", lambda provider: provider.name == "cpu")  # onnxruntime-openvino has it too
    sys.modules.pop(PLUGIN, None)
    yield
    sys.modules.pop(PLUGIN, None)


@has_plugins
@pytest.mark.usefixtures("plugin")
def test_a_plugin_library_that_does_not_load_is_one_sentence() -> None:
    assert "openvino" in providers.available()
    with pytest.raises(UsageError, match=f"library of {PLUGIN} must load in onnxruntime .* got Fail"):
        edgexf.load(LINFORMER, providers="openvino")


@pytest.mark.usefixtures("plugin")
def test_the_library_of_openvino_is_asked_for_the_precision_of_the_graph() -> None:
    """Its default on a processor with bfloat16 differs from the model by 2e-2."""
    (one,) = providers.with_options(Settings(2, "openvino"), None, Path("model.onnx"))
    on_cpu = json.loads(one.options["load_config"])["CPU"]
    assert on_cpu == {"EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_NUM_THREADS": "2"}


@pytest.mark.usefixtures("plugin")
def test_a_plugin_library_needs_an_onnxruntime_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ort, "register_execution_provider_library", raising=False)
    with pytest.raises(UsageError, match=r"openvino as a plugin library needs onnxruntime 1\.23 or later"):
        edgexf.load(LINFORMER, providers="openvino")


@has_plugins
@pytest.mark.usefixtures("plugin")
def test_a_plugin_library_that_shows_no_device_says_just_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "register_execution_provider_library", lambda *_: None)
    with pytest.raises(UsageError, match=rf"got none from openvino \({PLUGIN}\), which is installed and loads"):
        edgexf.load(LINFORMER, providers="openvino")


def test_a_library_that_onnxruntime_brings_itself_is_given_its_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime registers it at its import, and ignores its name in `providers` of a session."""
    monkeypatch.setattr(
        ort, "get_build_info", lambda: "ORT Build Info: git-branch=main, cuda-plugin-ep=1, build type=Release"
    )
    shown = [
        types.SimpleNamespace(
            ep_name="CUDAExecutionProvider", device=types.SimpleNamespace(type=types.SimpleNamespace(name="GPU"))
        )
    ]
    monkeypatch.setattr(ort, "get_ep_devices", lambda: shown, raising=False)
    given = []
    options = types.SimpleNamespace(add_provider_for_devices=lambda *both: given.append(both))
    providers.add(asked(("cuda", {"device_id": 0, "use_tf32": 0})), options)
    assert given == [(shown, {"use_tf32": "0"})]
    monkeypatch.setattr(ort, "get_ep_devices", list)
    with pytest.raises(UsageError, match=r"got none from cuda \(onnxruntime-gpu\)"):
        providers.add((CUDA,), options)


def test_options_choose_the_device_of_a_plugin_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def device(kind: str) -> Any:
        return types.SimpleNamespace(
            ep_name="OpenVINOExecutionProvider", device=types.SimpleNamespace(type=types.SimpleNamespace(name=kind))
        )

    shown = [device("CPU"), device("GPU"), device("GPU")]
    monkeypatch.setattr(plugins, "register", lambda _: None)
    monkeypatch.setattr(ort, "get_ep_devices", lambda: shown, raising=False)

    def chosen(options: dict[str, Any]) -> Any:
        return plugins.devices(asked(("openvino", options))[0])[0]

    assert chosen({}) is shown[0]
    assert chosen({"device_type": "gpu"}) is shown[1]
    assert chosen({"device_type": "GPU", "device_id": 1}) is shown[2]
    with pytest.raises(UsageError, match=r"it shows \(CPU, GPU, GPU\), got device_type=NPU, device_id=0"):
        chosen({"device_type": "NPU"})
    assert plugins.options_of(asked(("openvino", {"device_id": 0, "load_config": "{}"}))[0]) == {"load_config": "{}"}
