"""The graphs that `edgexf quantize` keeps, refuses and chooses, and the files that it leaves alone after an error."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from modules import small as small_module
from shrunk import FILES, SHORT, listing, outcomes, rewritten, snapshot
from small import small_encoder

import edgexf
from edgexf import bundle, names
from edgexf.bundle.manifest import Tensor
from edgexf.cli import main
from edgexf.dtypes import MODES, NAMES
from edgexf.errors import BundleError, EdgexfError, InputError, RefusedError, UsageError
from edgexf.passes.quantize import half
from edgexf.pipeline import quantize_bundle, write_quantized
from edgexf.pipeline.quantize_bundle import AUTO_MODES, Request, quantize
from edgexf.pipeline.verify_bundle import verify
from edgexf.report.quantization import Outcome, Speed, from_json, to_json
from edgexf_runtimes.device import device, dtype
from edgexf_runtimes.device.dtype import choose
from edgexf_runtimes.measure import speed
from edgexf_runtimes.measure.agreement import agreement, agreement_of

pytestmark = pytest.mark.slow  # exports or runs many models


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports a small encoder with random weights. A few bits easily change its outputs."""
    folder = tmp_path_factory.mktemp("small") / "bundle"
    edgexf.export(small_encoder("transformer"), output=folder, explain=())
    return folder


@pytest.fixture
def copied(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small, tmp_path / "work" / "bundle")
    return tmp_path / "work" / "bundle"


def slow(*_: Any) -> Speed:
    """Stands for a timing in which a graph takes twice the time of fp32."""
    return Speed(64, 41, 2.0, 1.9, 2.1, 1.0)


def fast(*_: Any) -> Speed:
    return Speed(64, 41, 0.5, 0.4, 0.6, 1.0)


def test_auto_takes_what_was_kept_and_what_this_processor_can(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "work" / "bundle"
    shutil.copytree(small, folder)
    monkeypatch.setattr(speed, "paired_timing", fast)
    monkeypatch.setattr(device, "CPU_INFO", cpu(tmp_path, "avx2 avx512_vnni"))
    (outcome,) = quantize(folder, Request("int8", lengths=SHORT))
    assert (outcome.verdict, outcome.unsigned) == ("kept", True)
    with edgexf.load(folder) as session:
        assert session.dtype == "q8"
    monkeypatch.setattr(device, "CPU_INFO", cpu(tmp_path, "avx2 avx512f"))
    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    with edgexf.load(folder) as session:
        assert session.dtype == "q8"  # its sums saturate nowhere
    with monkeypatch.context() as patch:
        older = {"int8": replace(outcome, unsigned=False)}  # of an edgexf that made files for one kind of processor
        patch.setattr(dtype, "modes", lambda *_: older)
        with edgexf.load(folder) as session:
            assert session.dtype == "fp32"
        with pytest.warns(UserWarning, match="may saturate"), edgexf.load(folder, dtype="q8") as session:
            assert session.dtype == "q8"
    kinds = {
        one.data_type
        for one in onnx.load(folder / "onnx" / "model_quantized.onnx", load_external_data=False).graph.initializer
    }
    assert onnx.TensorProto.INT8 in kinds
    assert onnx.TensorProto.UINT8 not in kinds
    (outcome,) = quantize(folder, Request("fp16", lengths=SHORT))
    assert outcome.verdict == "kept"
    (folder / "edgexf.sig").write_text("of the old files")
    quantize(folder, Request("int8", overwrite=True, force=True, lengths=SHORT))
    assert not (folder / "edgexf.sig").exists()


def cpu(folder: Path, flags: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"flags\t: {flags}\n")
    return path


def test_a_graph_that_is_slower_is_refused_and_nothing_is_written(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "paired_timing", slow)
    before = snapshot(copied)
    call = ["quantize", str(copied), "--mode", "int8", "--lengths", "64"]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 1
    assert "0.50x fp32's speed" in done.stderr
    assert "refused" in done.stdout
    assert snapshot(copied) == before
    done = CliRunner().invoke(main, [*call, "--force"])
    assert done.exit_code == 0, done.output
    assert outcomes(copied)["int8"].verdict == "forced"
    with edgexf.load(copied) as session:
        assert session.dtype == "fp32"  # a forced graph runs only on request
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2
    assert "--overwrite" in done.stderr


def test_auto_writes_the_smallest_that_is_good_enough(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "paired_timing", fast)
    evaluate = listing(copied.parent.parent, labelled=False)
    found = quantize(copied, Request("auto", evaluate=evaluate, max_drop=0.5, calibration=evaluate, lengths=SHORT))
    assert {one.mode for one in found} == set(AUTO_MODES)
    best = found[0]
    assert best.bytes == min(one.bytes for one in found if one.verdict in ("kept", "passed over"))
    assert {one.mode: one.verdict for one in outcomes(copied).values()} == {one.mode: one.verdict for one in found}
    assert [one.mode for one in found if one.verdict == "kept"] == [best.mode]
    static = next(one for one in found if one.mode == "int8-static")
    assert static.settings == {"calibration": evaluate.name, "method": "minmax"}
    with edgexf.load(copied) as session:
        assert session.dtype == best.dtype


def test_the_worst_weights_stay_in_float32_until_the_budget_holds(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(small, folder)
    (outcome,) = quantize(folder, Request("q4", max_drop=0.0, force=True, lengths=SHORT))
    kept = [layer for layer in outcome.layers if "was kept" in layer.skipped]
    assert outcome.drop == 0.0
    assert 0 < len(kept) <= len(outcome.layers)
    assert outcome.curve[0].drop > 0
    assert 0 < outcome.evaluations <= 96
    graph = onnx.load(folder / "onnx" / "model_q4.onnx", load_external_data=False)
    whole = {one.name for one in graph.graph.initializer if one.data_type == onnx.TensorProto.FLOAT}
    assert {layer.name for layer in kept} <= whole


def test_reports_are_written_also_of_a_refusal(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "paired_timing", slow)
    out = copied.parent
    files = {kind: out / f"report.{kind}" for kind in ("json", "markdown", "html")}
    options = [part for kind, path in files.items() for part in (f"--{kind}", str(path))]
    done = CliRunner().invoke(main, ["quantize", str(copied), "--mode", "fp16", "--lengths", "64", *options])
    assert done.exit_code == 1
    (found,) = from_json(files["json"].read_bytes()).values()
    assert found.verdict == "refused"
    assert from_json(to_json([found]).encode()) == {"fp16": found}
    assert "| fp16 |" in files["markdown"].read_text()
    page = files["html"].read_text()
    assert "default-src 'none'" in page
    assert "0.50x fp32&#x27;s speed" in page


def wrong(name: str, content: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return write


@pytest.mark.parametrize(
    ("made", "error", "says"),
    [
        (wrong("empty.txt", "\n\n"), InputError, "must hold an input"),
        (wrong("missing.txt", "nobody.bin\n"), InputError, "line 1 of missing.txt"),
        (wrong("broken.jsonl", '{"input": \n'), InputError, "line 1 of broken.jsonl"),
        (wrong("ids.jsonl", '{"input_ids": [257, 3]}\n{"input_ids": [257, 900]}\n'), InputError, "line 2 of ids.jsonl"),
        (wrong("floats.jsonl", '{"input_ids": [1.5]}\n'), InputError, "whole numbers"),
        (lambda folder: folder / "nowhere.txt", InputError, "nowhere.txt"),
        (lambda _: FILES[-1], InputError, "readable file of text"),
    ],
)
def test_calibration_data_that_cannot_be_read_is_named(
    copied: Path, made: Callable[[Path], Path], error: type[EdgexfError], says: str
) -> None:
    before = snapshot(copied)
    path = made(copied.parent.parent)
    with pytest.raises(error, match=says):
        quantize(copied, Request("int8-static", calibration=path, lengths=SHORT))
    assert snapshot(copied) == before


def test_wrong_calls_say_what_is_right(copied: Path) -> None:
    evaluate = wrong("labels.jsonl", json.dumps({"input": str(FILES[0]), "label": "klingon"}))(copied.parent)
    one, other = ({"input": str(FILES[0]), "label": "c"}, {"input": str(FILES[0])})
    some = wrong("some.jsonl", f"{json.dumps(one)}\n{json.dumps(other)}")(copied.parent)
    deep = wrong("deep.jsonl", '{"input_ids": ' + "[" * 100_000)(copied.parent)
    for options, error, says in (
        ({"mode": "int4"}, UsageError, f"mode must be one of {', '.join(MODES)}, auto"),
        ({"mode": "int8-static"}, UsageError, "--calibration"),
        ({"mode": "int8", "max_drop": 2.0}, UsageError, "share from 0 to 1"),
        (
            {"mode": "int8-static", "calibration": evaluate, "calibration_method": "mean"},
            UsageError,
            "minmax, percentile, entropy",
        ),
        ({"mode": "int8", "evaluate": evaluate}, InputError, "'klingon' in line 1"),
        ({"mode": "int8", "evaluate": some}, InputError, "got 1 of 2 in some.jsonl"),
        ({"mode": "int8", "evaluate": deep}, InputError, "line 1 of deep.jsonl"),
        ({"mode": "int8", "lengths": ()}, UsageError, "whole numbers of at least 1"),
    ):
        with pytest.raises(error, match=says):
            quantize(copied, **options)


def test_a_bundle_without_fp32_is_refused(copied: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        for graph in values["variants"]:
            graph["dtype"] = "fp16"

    rewritten(copied, change)
    with pytest.raises(BundleError, match="must hold its graphs in fp32"):
        quantize(copied, Request("int8"))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Simulates a disk that is full after some files of a bundle."""
    write, count = bundle.write_synced, iter(range(1000))

    def filling(path: Path, data: bytes) -> None:
        if next(count) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr("edgexf.bundle.folder.write_synced", filling)
    yield
    monkeypatch.undo()


@pytest.mark.usefixtures("full_disk")
def test_a_disk_that_fills_up_leaves_the_bundle_as_it_was(copied: Path) -> None:
    before = snapshot(copied)
    with pytest.raises(UsageError, match="No space left on device"):
        quantize(copied, Request("int8", force=True, lengths=SHORT))
    assert snapshot(copied) == before


def test_a_dtype_that_is_not_there_is_named(copied: Path) -> None:
    with pytest.raises(UsageError, match="predict in fp32"):
        edgexf.load(copied, dtype="q8")
    with pytest.raises(UsageError, match=f"auto, {', '.join(NAMES)}"):
        edgexf.load(copied, dtype="int4")


def test_a_module_of_ones_own_is_quantized_too(tmp_path: Path) -> None:
    """Such a module has custom input names, no limits of token ids, and a projection that is cut to the length."""
    module, examples = small_module("linformer classifier")
    edgexf.export(module, example_inputs=examples, explain=(), output=tmp_path / "bundle")
    (outcome,) = quantize(tmp_path / "bundle", Request("int8", force=True, lengths=SHORT))
    assert outcome.worst <= outcome.tolerance
    assert sum(layer.products + layer.rows for layer in outcome.layers) > 0
    verdict = verify(tmp_path / "bundle")
    assert [part.passed for part in verdict.parts] == [True, True]


def test_two_runs_at_once_do_not_mix(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that finishes second finds that the bundle differs from the measured bundle."""
    monkeypatch.setattr(speed, "paired_timing", fast)
    write = write_quantized.write

    def late(folder: Path, *rest: Any) -> None:
        monkeypatch.setattr(write_quantized, "write", write)
        quantize(folder, "fp16", force=True, lengths=SHORT)
        write(folder, *rest)

    monkeypatch.setattr(write_quantized, "write", late)
    with pytest.raises(BundleError, match="must stay as it is"):
        quantize(copied, "int8", force=True, lengths=SHORT)
    assert set(outcomes(copied)) == {"fp16"}
    assert verify(copied).passed


def test_a_constant_or_broken_explanation_does_not_pass_for_a_good_one() -> None:
    """A constant has no ranks. This guards against heat maps that are the same for every input."""
    scores = np.arange(20.0)
    assert agreement_of(scores, np.zeros(20)).correlation == 0
    assert agreement_of(scores, np.full(20, np.nan)).correlation == 0
    assert agreement_of(scores, scores).correlation == 1
    assert agreement_of(scores, -scores).correlation == -1


def test_labels_that_are_no_rivals_agree_by_their_signs() -> None:
    """In a multi-label model, the best label says nothing about the other labels."""
    output = Tensor("logits", "float32", ("batch_size", 3))
    wanted, found = np.float32([[5.0, 1.0, -1.0]]), np.float32([[5.0, -0.5, -1.0]])
    assert agreement(output, wanted, found, np.ones((1, 3), bool), "sigmoid") == pytest.approx(2 / 3)
    assert agreement(output, wanted, found, np.ones((1, 3), bool), "softmax") == 1


@pytest.mark.parametrize(
    ("scores", "wanted", "found", "share"),
    [("none", 4.0, 1.0, 0.25), ("none", 4.0, 4.0, 1.0), ("sigmoid", 4.0, 0.1, 1.0), ("sigmoid", 4.0, -0.1, 0.0)],
)
def test_a_single_logit_agrees_by_what_it_means(scores: str, wanted: float, found: float, share: float) -> None:
    output = Tensor("logits", "float32", ("batch_size", 1))
    answers = (np.array([[value]], dtype=np.float32) for value in (wanted, found))
    assert agreement(output, *answers, np.ones((1, 3), bool), scores) == pytest.approx(share)


def test_on_a_gpu_half_precision_that_was_only_slow_here_is_taken(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small, tmp_path / "bundle")
    monkeypatch.setattr(speed, "paired_timing", slow)
    (outcome,) = quantize(tmp_path / "bundle", "fp16", force=True, lengths=SHORT)
    manifest = bundle.read(tmp_path / "bundle")
    assert outcome.only_slow
    assert choose(tmp_path / "bundle", manifest, ("cuda",)) == "fp16"
    assert choose(tmp_path / "bundle", manifest, ("cpu",)) == "fp32"
    told = json.loads((tmp_path / "bundle" / names.CONFIG_FILE).read_text())["transformers.js_config"]
    assert told["device_config"] == {"webgpu": {"dtype": "fp16"}}


def test_auto_takes_out_what_it_refuses_now(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that was kept on other data is no longer loaded, and the browser config no longer names it."""
    monkeypatch.setattr(speed, "paired_timing", fast)
    for mode in ("int8", "fp16"):
        assert quantize(copied, mode, lengths=SHORT)[0].verdict == "kept"
    before = json.loads((copied / names.CONFIG_FILE).read_text())["transformers.js_config"]
    assert (before["dtype"], "device_config" in before) == ("q8", True)
    judged = quantize_bundle.judged

    def strict(outcome: Outcome, force: bool) -> Outcome:
        return replace(judged(outcome, force), verdict="kept" if outcome.mode == "q4" else "refused")

    monkeypatch.setattr(quantize_bundle, "judged", strict)
    quantize(copied, "auto", overwrite=True, lengths=SHORT)
    found = bundle.read(copied)
    assert {graph.dtype for graph in found.variants} == {"fp32", "fp16", "q4"}
    assert "onnx/model_quantized.onnx_data" not in found.files
    assert outcomes(copied)["int8"].verdict == "refused"
    monkeypatch.setattr(quantize_bundle, "judged", judged)
    monkeypatch.setattr(speed, "paired_timing", slow)
    monkeypatch.setattr(half, "FP16", replace(half.FP16, tolerance=0.0))
    quantize(copied, "fp16", overwrite=True, force=True, lengths=SHORT)
    assert "device_config" not in json.loads((copied / names.CONFIG_FILE).read_text())["transformers.js_config"]


def test_a_report_goes_beside_the_bundle_and_not_into_it(copied: Path) -> None:
    """Otherwise the bundle would hold a file that its manifest does not list."""
    before = snapshot(copied)
    call = ["quantize", str(copied), "--mode", "int8", "--json", str(copied / "report.json")]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2
    assert "outside the bundle" in done.stderr
    assert snapshot(copied) == before


def test_an_export_says_where_calibrated_graphs_are_made(tmp_path: Path) -> None:
    call = ["export", "--variant", "linformer", "--quantize", "int8-static", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2
    assert "edgexf quantize BUNDLE --mode int8-static --calibration FILE" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_refusal_carries_what_was_measured(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "paired_timing", slow)
    with pytest.raises(RefusedError) as caught:
        quantize(small, Request("int8", lengths=SHORT))
    assert [one.verdict for one in caught.value.outcomes] == ["refused"]
    assert "quantize_config.json" not in {path.name for path in small.iterdir()}
