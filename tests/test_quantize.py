"""`edgexf quantize`, from a bundle to a smaller one or a refusal: what is written, measured, chosen and refused."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from conftest import Exported
from modules import small as small_module
from small import small_encoder

import edgexf
from edgexf import bundle, names, quantizing
from edgexf.cli import main
from edgexf.comparison import spearman
from edgexf.errors import BundleError, EdgexfError, InputError, RefusedError, UsageError
from edgexf.manifest import Tensor
from edgexf.pipeline import verify
from edgexf.quantization import Outcome, from_json, to_json
from edgexf.quantizing import Request, quantize
from edgexf_runtimes import choice, device, versus
from edgexf_runtimes.agreement import Case, agreement, agreement_of, compare_relevance

DATA = Path(__file__).parent / "data"
FILES = [
    DATA / "evaluation" / f"{label}-0{number}.bin" for label in ("c", "python", "html", "zip") for number in (1, 2)
]
SHORT = (64,)  # bytes at which graphs are timed here: what a graph takes is no claim of these tests


def listing(folder: Path, *, labelled: bool) -> Path:
    """A few files of the evaluation set."""
    path = folder / f"{'labelled' if labelled else 'plain'}.jsonl"
    lines = [{"input": str(file), **({"label": file.name[:-7]} if labelled else {})} for file in FILES]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder.parent).as_posix(): path.read_bytes()
        for path in folder.parent.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def quantized(linformer: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained linformer in q8 and q4, whatever this machine's clock says of them."""
    folder = tmp_path_factory.mktemp("quantized") / "bundle"
    shutil.copytree(linformer.bundle.path, folder)
    evaluate = listing(folder.parent, labelled=True)
    for mode in ("int8", "q4"):
        quantize(folder, Request(mode, evaluate=evaluate, max_drop=0.2, force=True, lengths=SHORT))
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder with random weights, whose answers a few bits change easily."""
    folder = tmp_path_factory.mktemp("small") / "bundle"
    edgexf.export(small_encoder("transformer"), output=folder, explain=())
    return folder


@pytest.fixture
def copied(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small, tmp_path / "work" / "bundle")
    return tmp_path / "work" / "bundle"


def outcomes(folder: Path) -> dict[str, Outcome]:
    return from_json((folder / names.QUANTIZE_FILE).read_bytes())


def slow(*_: Any) -> versus.Ratio:
    """What a machine measures on which a graph takes twice fp32's time."""
    return versus.Ratio(64, 41, 2.0, 1.9, 2.1, 1.0)


def fast(*_: Any) -> versus.Ratio:
    return versus.Ratio(64, 41, 0.5, 0.4, 0.6, 1.0)


def test_files_have_the_names_that_hub_and_browser_know(quantized: Path) -> None:
    there = {path.name for path in (quantized / "onnx").iterdir()}
    wanted = {"model", "explain", "explain_gradient"}
    assert there == {f"{name}{suffix}.onnx" for name in wanted for suffix in ("", "_quantized", "_q4")} | {
        f"model{suffix}.onnx_data" for suffix in ("", "_quantized", "_q4")
    }
    graph = onnx.load(quantized / "onnx" / "explain_q4.onnx", load_external_data=False)
    assert {one.key: one.value for one in graph.metadata_props} == {"edgexf.mode": "q4", "edgexf.dtype": "q4"}
    assert [graph.dtype for graph in bundle.read(quantized).variants] == ["fp32"] * 3 + ["q8"] * 3 + ["q4"] * 3


def test_predict_and_explain_together_are_less_than_a_third(quantized: Path) -> None:
    """Weights are stored once for both, and for the forward and the reverse part."""
    sizes = {path.name: path.stat().st_size for path in (quantized / "onnx").iterdir()}

    def pair(suffix: str) -> int:
        return sum(sizes[f"{name}{suffix}.onnx"] for name in ("model", "explain")) + sizes[f"model{suffix}.onnx_data"]

    assert pair("_quantized") < pair("") / 3
    assert pair("_q4") < 0.25 * pair("")


def test_a_quantized_bundle_verifies_and_loads_without_edgexf(quantized: Path) -> None:
    verdict = verify(quantized)
    assert verdict.passed
    assert [part.dtype for part in verdict.parts] == ["fp32", "q8", "q4"]
    for graph in bundle.read(quantized).variants:
        ort.InferenceSession(str(quantized / graph.file), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("dtype", "correlation", "overlap"), [("q8", 0.95, 0.8), ("q4", 0.95, 0.8)])
@pytest.mark.parametrize("method", ["attnlrp", "gradient"])
def test_relevance_keeps_its_ranks(
    quantized: Path, dtype: str, method: str, correlation: float, overlap: float
) -> None:
    """The issue's own bounds, on real files and at lengths never traced."""
    with edgexf.load(quantized, dtype="fp32") as reference, edgexf.load(quantized, dtype=dtype) as other:
        found = []
        for path in FILES:
            label = reference.predict(path)[0].label  # type: ignore[union-attr]
            one, two = (session.explain(path, label, method).scores for session in (reference, other))
            tops = [set(np.argsort(-np.abs(scores))[:5].tolist()) for scores in (one, two)]
            found.append((spearman(one.astype(float), two.astype(float)), len(tops[0] & tops[1]) / 5))
    assert np.mean([value for value, _ in found]) >= correlation
    assert np.mean([value for _, value in found]) >= overlap


def test_the_explain_graph_answers_as_the_predict_graph_does(quantized: Path) -> None:
    """Within the rounding of activations to 8 bits: a value half way between two steps may go either way."""
    with edgexf.load(quantized, dtype="q8") as session:
        inputs = session.encode([FILES[0]])
        one, two = session.run(**inputs)["logits"], session.run_explain(**inputs)["logits"]
    assert np.abs(one - two).max() < 0.02 * np.abs(one).max()


def test_the_config_says_what_was_done_and_measured(quantized: Path) -> None:
    found = outcomes(quantized)["int8"]
    assert found.dtype == "q8"
    assert found.bytes == sum(
        path.stat().st_size for path in (quantized / "onnx").iterdir() if "_quantized" in path.name
    )
    assert {layer.name for layer in found.layers} >= {
        "tokens.weight",
        "layers.0.attention.projection",
        "classifier.weight",
    }
    assert all(layer.products + layer.rows + layer.reads > 0 or layer.skipped for layer in found.layers)
    projection = next(layer for layer in found.layers if layer.name == "layers.0.attention.projection")
    assert projection.products == 2  # of the keys and of the values
    assert found.fp32_metric is not None
    assert 0 < found.worst <= found.tolerance
    assert [row.method for row in found.explain] == ["attnlrp", "gradient"]
    assert found.machine["threads used"] == str(len(__import__("os").sched_getaffinity(0)))


def test_card_and_browser_config_follow(quantized: Path) -> None:
    card = (quantized / names.CARD_FILE).read_text()
    assert card.count("## Quantized graphs") == 1
    assert "| int8 |" in card
    assert "| q4 |" in card
    told = json.loads((quantized / names.CONFIG_FILE).read_text())["transformers.js_config"]
    kept = outcomes(quantized)["int8"].verdict == "kept"
    assert told == {"dtype": "q8" if kept else "fp32", "use_external_data_format": True}


def test_auto_takes_what_was_kept_and_what_this_processor_can(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "work" / "bundle"
    shutil.copytree(small, folder)
    monkeypatch.setattr(versus, "race", fast)
    monkeypatch.setattr(device, "CPU_INFO", cpu(tmp_path, "avx2 avx512_vnni"))
    (outcome,) = quantize(folder, Request("int8", lengths=SHORT))
    assert (outcome.verdict, outcome.unsigned) == ("kept", False)
    with edgexf.load(folder) as session:
        assert session.dtype == "q8"
    monkeypatch.setattr(device, "CPU_INFO", cpu(tmp_path, "avx2 avx512f"))
    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    with edgexf.load(folder) as session:
        assert session.dtype == "fp32"  # signed products would saturate
    with pytest.warns(UserWarning, match="may saturate"), edgexf.load(folder, dtype="q8") as session:
        assert session.dtype == "q8"
    (outcome,) = quantize(folder, Request("int8", overwrite=True, lengths=SHORT))
    assert outcome.unsigned
    with edgexf.load(folder) as session:
        assert session.dtype == "q8"
    kinds = {
        one.data_type
        for one in onnx.load(folder / "onnx" / "model_quantized.onnx", load_external_data=False).graph.initializer
    }
    assert onnx.TensorProto.INT8 not in kinds
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
    monkeypatch.setattr(versus, "race", slow)
    before = snapshot(copied)
    call = ["quantize", str(copied), "--mode", "int8", "--lengths", "64"]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 1
    assert "takes 2.00 times fp32's time" in done.stderr
    assert "refused" in done.stdout
    assert snapshot(copied) == before
    done = CliRunner().invoke(main, [*call, "--force"])
    assert done.exit_code == 0, done.output
    assert outcomes(copied)["int8"].verdict == "forced"
    with edgexf.load(copied) as session:
        assert session.dtype == "fp32"  # never unasked
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2
    assert "--overwrite" in done.stderr


def test_auto_writes_the_smallest_that_is_good_enough(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versus, "race", fast)
    evaluate = listing(copied.parent.parent, labelled=False)
    found = quantize(copied, Request("auto", evaluate=evaluate, max_drop=0.5, calibration=evaluate, lengths=SHORT))
    assert {one.mode for one in found} == {"int8", "int8-static", "q4"}
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
    monkeypatch.setattr(versus, "race", slow)
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
    assert "takes 2.00 times fp32&#x27;s time" in page


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
    for request, error, says in (
        (Request("int4"), UsageError, "mode must be one of int8, int8-static, q4, fp16, auto"),
        (Request("int8-static"), UsageError, "--calibration"),
        (Request("int8", max_drop=2.0), UsageError, "share from 0 to 1"),
        (
            Request("int8-static", calibration=evaluate, calibration_method="mean"),
            UsageError,
            "minmax, percentile, entropy",
        ),
        (Request("int8", evaluate=evaluate), InputError, "'klingon' in line 1"),
    ):
        with pytest.raises(error, match=says):
            quantize(copied, request)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The bundle with a changed manifest whose digests are right again."""
    values = json.loads((folder / names.MANIFEST_FILE).read_text())
    change(values)
    values["digest"] = bundle.digest_of({key: value for key, value in values.items() if key != "digest"})
    (folder / names.MANIFEST_FILE).write_text(json.dumps(values))


def test_a_bundle_without_fp32_is_refused(copied: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        for graph in values["variants"]:
            graph["dtype"] = "fp16"

    rewritten(copied, change)
    with pytest.raises(BundleError, match="must hold its graphs in fp32"):
        quantize(copied, Request("int8"))


def test_graphs_that_are_quantized_already_are_refused(quantized: Path, copied: Path) -> None:
    """An int8 graph that was put in the place of fp32's."""
    for file in ("model.onnx", "model.onnx_data"):
        stem, _, kind = file.partition(".")
        (copied / "onnx" / file).write_bytes((quantized / "onnx" / f"{stem}_quantized.{kind}").read_bytes())

    def change(values: dict[str, Any]) -> None:
        for file in ("onnx/model.onnx", "onnx/model.onnx_data"):
            values["files"][file] = bundle.entry_of((copied / file).read_bytes())

    rewritten(copied, change)
    with pytest.raises(BundleError, match="must not be quantized yet"):
        quantize(copied, Request("q4"))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that takes some files of a bundle and then no more."""
    write, count = bundle.write_synced, iter(range(1000))

    def filling(path: Path, data: bytes) -> None:
        if next(count) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(bundle, "write_synced", filling)
    yield
    monkeypatch.undo()


@pytest.mark.usefixtures("full_disk")
def test_a_disk_that_fills_up_leaves_the_bundle_as_it_was(copied: Path) -> None:
    before = snapshot(copied)
    with pytest.raises(UsageError, match="No space left on device"):
        quantize(copied, Request("int8", force=True, lengths=SHORT))
    assert snapshot(copied) == before


def test_a_config_that_was_tampered_with_is_not_trusted(quantized: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(quantized, folder)
    for content in (
        b"{}",
        b'{"schema_version": 9, "modes": {}}',
        b'{"schema_version": 1, "modes": {"int8": {}}}',
        b"[",
    ):
        (folder / names.QUANTIZE_FILE).write_bytes(content)
        rewritten(
            folder,
            lambda values, content=content: values["files"].update({names.QUANTIZE_FILE: bundle.entry_of(content)}),
        )
        with pytest.raises(BundleError, match=names.QUANTIZE_FILE):
            edgexf.load(folder)


def test_a_dtype_that_is_not_there_is_named(copied: Path) -> None:
    with pytest.raises(UsageError, match="predict in fp32"):
        edgexf.load(copied, dtype="q8")
    with pytest.raises(UsageError, match="auto, fp32, q8, int8, q4, fp16"):
        edgexf.load(copied, dtype="int4")


def test_a_module_of_ones_own_is_quantized_too(tmp_path: Path) -> None:
    """Inputs by its own names, no token ids' limits, and a projection that is cut to the length."""
    module, examples = small_module("linformer classifier")
    edgexf.export(module, example_inputs=examples, explain=(), output=tmp_path / "bundle")
    (outcome,) = quantize(tmp_path / "bundle", Request("int8", force=True, lengths=SHORT))
    assert outcome.worst <= outcome.tolerance
    assert sum(layer.products + layer.rows for layer in outcome.layers) > 0
    verdict = verify(tmp_path / "bundle")
    assert [part.passed for part in verdict.parts] == [True, True]


def test_two_runs_at_once_do_not_mix(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second to finish finds a bundle that is not what it measured."""
    monkeypatch.setattr(versus, "race", fast)
    write = quantizing.write

    def late(folder: Path, *rest: Any) -> None:
        monkeypatch.setattr(quantizing, "write", write)
        quantize(folder, "fp16", force=True, lengths=SHORT)
        write(folder, *rest)

    monkeypatch.setattr(quantizing, "write", late)
    with pytest.raises(BundleError, match="must stay as it is"):
        quantize(copied, "int8", force=True, lengths=SHORT)
    assert set(outcomes(copied)) == {"fp16"}
    assert verify(copied).passed


def test_a_constant_or_broken_explanation_does_not_pass_for_a_good_one() -> None:
    """Ranks of a constant are no ranks; the bug class of heat maps that are the same for every input."""
    scores = np.arange(20.0)
    assert agreement_of(scores, np.zeros(20)).correlation == 0
    assert agreement_of(scores, np.full(20, np.nan)).correlation == 0
    assert agreement_of(scores, scores).correlation == 1
    assert agreement_of(scores, -scores).correlation == -1


def test_rows_of_a_few_tokens_are_not_compared(quantized: Path) -> None:
    """All of their tokens are among the strongest, whatever a graph explains."""
    with edgexf.load(quantized, dtype="fp32") as reference, edgexf.load(quantized, dtype="q8") as other:
        ids = np.full((2, 20), 65)
        mask = np.zeros((2, 20), dtype=np.int64)
        mask[0], mask[1, :3] = 1, 1
        found = compare_relevance(
            reference, other, "attnlrp", Case(reference.checked({"input_ids": ids, "attention_mask": mask}))
        )
    assert len(found) == 1


@pytest.mark.parametrize(
    ("scores", "wanted", "found", "share"),
    [("none", 4.0, 1.0, 0.25), ("none", 4.0, 4.0, 1.0), ("sigmoid", 4.0, 0.1, 1.0), ("sigmoid", 4.0, -0.1, 0.0)],
)
def test_a_single_logit_agrees_by_what_it_means(scores: str, wanted: float, found: float, share: float) -> None:
    output = Tensor("logits", "float32", ("batch", 1))
    answers = (np.array([[value]], dtype=np.float32) for value in (wanted, found))
    assert agreement(output, *answers, np.ones((1, 3), bool), scores) == pytest.approx(share)


def test_on_a_gpu_half_precision_that_was_only_slow_here_is_taken(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small, tmp_path / "bundle")
    monkeypatch.setattr(versus, "race", slow)
    (outcome,) = quantize(tmp_path / "bundle", "fp16", force=True, lengths=SHORT)
    manifest = bundle.read(tmp_path / "bundle")
    assert outcome.only_slow
    assert choice.choose(tmp_path / "bundle", manifest, ("cuda",)) == "fp16"
    assert choice.choose(tmp_path / "bundle", manifest, ("cpu",)) == "fp32"
    told = json.loads((tmp_path / "bundle" / names.CONFIG_FILE).read_text())["transformers.js_config"]
    assert told["device_config"] == {"webgpu": {"dtype": "fp16"}}


def test_a_refusal_carries_what_was_measured(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versus, "race", slow)
    with pytest.raises(RefusedError) as caught:
        quantize(small, Request("int8", lengths=SHORT))
    assert [one.verdict for one in caught.value.outcomes] == ["refused"]
    assert "quantize_config.json" not in {path.name for path in small.iterdir()}
