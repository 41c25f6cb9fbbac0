"""What users name as a model and is none: one sentence each, with the remedy, and before anything loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from families import small
from torch import Tensor, nn

import edgexf
from edgexf.errors import EdgexfError, ExportError, UsageError
from edgexf_exporters.sources.checkpoint import from_checkpoint, model_class
from edgexf_exporters.sources.modules.factory import load_weights
from edgexf_exporters.sources.request import Request, check_request
from edgexf_exporters.sources.wrapped import unwrapped


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        answer: Tensor = self.head(torch.tanh(self.embed(ids)))
        return answer


IDS = torch.arange(12).reshape(2, 6)
CONFIG = {"model_type": "bert", "architectures": ["BertModel"]}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"adapter_config.json": {}, "adapter_model.safetensors": None}, r"adapter \(LoRA\).*merge_and_unload"),
        ({"adapter_config.json": {}, "config.json": CONFIG}, "merge_and_unload"),
        (
            {"config.json": {**CONFIG, "quantization_config": {"quant_method": "gptq"}}},
            "quantized by gptq in .*before|made from",
        ),
        ({"config.json": {**CONFIG, "quantization_config": {"load_in_4bit": True}}}, "another library"),
        ({"config.json": []}, "must hold an object, got a list"),
        ({"model-q4.gguf": None}, "none in .*model-q4.gguf, quantized weights for llama.cpp; name the folder or id"),
        ({"pytorch_model.bin": None}, "config.json, got none in .*pytorch_model.bin, weights alone"),
        ({"0_Transformer/config.json": CONFIG}, "name one of the folders in it that hold one: 0_Transformer"),
        ({"edgexf.json": {}}, "a bundle that is exported already; run it"),
        ({}, "save the model with save_pretrained"),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_refused_with_the_remedy(
    files: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    for name, values in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("" if values is None else json.dumps(values))
    with pytest.raises(ExportError, match=sentence):
        check_request(Request(tmp_path))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("m.gguf", "the file .*m.gguf, quantized weights for llama.cpp; name the folder or id"),
        ("m.onnx", "a graph already; name the checkpoint"),
        ("m.bin", "weights alone; name the folder"),
        ("m.pth", r"a pickle; load it in Python and call edgexf.export\(module, example_inputs"),
        ("m.txt", "the file .*m.txt; name its folder"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_with_the_remedy(name: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ExportError, match=sentence):
        check_request(Request(tmp_path / name))


def test_torchscript_is_told_from_other_pickles_by_its_content(tmp_path: Path) -> None:
    scripted = torch.jit.trace(Tagger().eval(), (IDS,))
    torch.jit.save(scripted, tmp_path / "model.pt")
    torch.save(Tagger().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ExportError, match="a TorchScript program; export the module that it was made from"):
        check_request(Request(tmp_path / "model.pt"))
    with pytest.raises(ExportError, match="a pickle"):
        check_request(Request(tmp_path / "weights.pt"))
    with pytest.raises(ExportError, match="got a TorchScript program"):
        edgexf.export(scripted, example_inputs=(IDS,), output=tmp_path / "out")


@pytest.mark.parametrize("place", ["./nowhere", "~/nowhere", "a/b/c", "nowhere/", Path("nowhere")])
def test_a_path_without_a_folder_is_not_taken_for_the_id_of_a_hub(place: str | Path) -> None:
    with pytest.raises(ExportError, match="no folder here; check the path"):
        check_request(Request(place))
    check_request(Request("owner/name"))


@pytest.mark.parametrize(
    "wrap", [torch.compile, nn.DataParallel, lambda module: nn.DataParallel(torch.compile(module))]
)
def test_a_wrapped_module_is_exported_as_the_module_inside(wrap: Any) -> None:
    module = Tagger().eval()
    assert unwrapped(wrap(module)) is module


def test_a_compiled_module_becomes_a_bundle_and_one_with_quantized_layers_a_sentence(tmp_path: Path) -> None:
    module = Tagger().eval()
    made = edgexf.export(torch.compile(module), example_inputs=(IDS,), output=tmp_path / "out", explain=())
    with edgexf.load(made.path) as session:
        found = session.run(ids=IDS.numpy())["logits"]
    assert abs(found - module(IDS).detach().numpy()).max() <= 1e-5
    packed = torch.ao.quantization.quantize_dynamic(Tagger().eval(), {nn.Linear})
    with pytest.raises(ExportError, match=r"got head quantized by torch\.ao\.quantization; .*edgexf quantize"):
        edgexf.export(packed, example_inputs=(IDS,), output=tmp_path / "other")


def test_a_folder_with_a_pickle_of_tensors_is_read(tmp_path: Path) -> None:
    """Older checkpoints hold pytorch_model.bin. Only tensors are read from it."""
    model = small("Bert", "Model")
    model.config.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    loaded = from_checkpoint(str(tmp_path)).module.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"variant": "nope"}, UsageError, "variant must be one of"),
        ({"variant": "linformer", "grid": "nope"}, UsageError, "grid must be one of quick, full"),
        ({"variant": "linformer", "explain": "nope"}, UsageError, "explanation method"),
        ({"variant": "linformer", "opset": 3}, UsageError, "opset must be 20 to 23"),
        ({"variant": "linformer", "output": "."}, UsageError, "must be empty"),
        ({"source": "owner/name", "task": "nope"}, UsageError, "task must be one of"),
        ({"source": "./nowhere"}, ExportError, "no folder here"),
    ],
)
def test_what_needs_no_model_is_refused_before_torch_loads(
    arguments: dict[str, Any], error: type[EdgexfError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        edgexf.export(**arguments)
    program = f"""
import sys, edgexf
try: edgexf.export(**{arguments!r})
except edgexf.errors.EdgexfError: print("torch" in sys.modules or "transformers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "wrap", [lambda module: module, torch.compile, lambda module: nn.DataParallel(torch.compile(module))]
)
def test_weights_that_a_wrapper_saved_fit_the_module_inside(wrap: Any, tmp_path: Path) -> None:
    saved, fresh = Tagger(), Tagger()
    torch.save(wrap(saved).state_dict(), tmp_path / "weights.pt")
    load_weights(fresh, tmp_path / "weights.pt")
    assert all(torch.equal(one, fresh.state_dict()[name]) for name, one in saved.state_dict().items())
    inside = nn.ModuleDict({"module": saved})  # a module that is called so itself
    torch.save(inside.state_dict(), tmp_path / "weights.pt")
    load_weights(inside, tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("architecture", "found"), [("FunnelModel", "FunnelModel"), ("FunnelBaseModel", "FunnelBaseModel")]
)
def test_a_task_with_two_classes_takes_the_one_that_the_config_names(architecture: str, found: str) -> None:
    """transformers lists two base models for Funnel."""
    config = transformers.FunnelConfig(architectures=[architecture])
    assert model_class(config, "feature-extraction").__name__ == found


def test_a_task_that_a_family_has_no_head_for_is_a_sentence() -> None:
    with pytest.raises(ExportError, match="a model of esm must have a head for question-answering, got none"):
        model_class(transformers.EsmConfig(vocab_size=30, pad_token_id=1), "question-answering")
