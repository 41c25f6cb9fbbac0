"""Custom modules: exported by example inputs, run by onnxruntime alone, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from modules import VOCABULARY, exports, ids, small
from torch import Tensor, nn
from torch.export import Dim

import edgexf
from edgexf import bundle
from edgexf.bundle.manifest import Manifest
from edgexf.bundle.signature import Axis
from edgexf.errors import InputError, UsageError, VerificationError
from edgexf_exporters.explain.rules import Rules
from edgexf_exporters.hooks import frozen
from edgexf_exporters.lowerings.packages import (
    linformer,
    local_attention,
    nystrom_attention,
    reformer_pytorch,
    torch_nn,
)
from edgexf_exporters.sources.calls import surrounding
from edgexf_exporters.sources.modules.module import from_module

pytestmark = pytest.mark.slow  # exports or runs many models

TOLERANCE = 1e-4  # relative to an output's largest value, as in the contract

OTHER: dict[str, dict[str, Tensor]] = {  # inputs of sizes that were not traced
    "linformer classifier": {"ids": ids(5, 71)},
    "linformer LM": {"x": ids(1, 80)},
    "causal reformer": {"ids": ids(5, 88)},
    "padded reformer": {"ids": ids(5, 43)},
    "reformer LM": {"x": ids(2, 40)},
    "[sequence, batch]": {"tokens": ids(71, 5)},
    "source and target": {
        "src": ids(5, 33),
        "tgt": ids(5, 50, 40),
        "src_key_padding_mask": torch.arange(33) >= torch.tensor([33, 20, 9, 2, 1])[:, None],
    },
    "landmarks": {"ids": ids(1, 37), "mask": torch.arange(37)[None] < 30},
    "nearby": {"ids": ids(5, 33)},
}
CAUSAL = ("[sequence, batch]", "source and target")


@dataclass(frozen=True)
class Exported:
    """A kind of module, the module, the path of its bundle, and its state before and after the export."""

    kind: str
    module: nn.Module
    path: Path
    before: list[Any]
    after: list[Any]


def state(module: nn.Module) -> list[Any]:
    """Returns the parts and modes of a module, the bytes of its weights, and what torch keeps for all modules."""
    parts = [(name, type(part), part.training) for name, part in module.named_modules()]
    weights = {name: value.numpy().tobytes() for name, value in module.state_dict().items()}
    return [parts, weights, torch.random.get_rng_state().tolist(), torch.backends.mha.get_fastpath_enabled()]


@pytest.fixture(scope="module")
def exported_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Returns a function that exports a kind of module in training mode, once for all tests of this file."""
    folder = tmp_path_factory.mktemp("modules")

    @cache
    def exported(kind: str) -> Exported:
        module, examples = small(kind)
        before = state(module.train())
        edgexf.export(module, example_inputs=examples, output=folder / kind, explain=())
        after = state(module)
        return Exported(kind, module.eval(), folder / kind, before, after)

    return exported


@pytest.fixture(params=OTHER)
def exported(request: pytest.FixtureRequest, exported_of: Callable[[str], Exported]) -> Exported:
    made: Exported = exported_of(request.param)
    return made


def answer(module: nn.Module, inputs: dict[str, Tensor]) -> np.ndarray[Any, Any]:
    """Returns the eager model's output. If its library draws rotations, they are the rotations of the graph."""
    with torch.no_grad(), surrounding(module)(module):
        found: np.ndarray[Any, Any] = module(**inputs).numpy()
    return found


def test_onnxruntime_alone_answers_as_the_module_does_at_other_sizes(exported: Exported) -> None:
    kind, module, path = exported.kind, exported.module, exported.path
    session = ort.InferenceSession(str(path / "onnx" / "model.onnx"))
    assert [value.name for value in session.get_inputs()] == list(small(kind)[1])
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in OTHER[kind].items()})
    wanted = answer(module, OTHER[kind])
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_the_runtime_takes_the_inputs_by_their_names_and_refuses_what_the_axes_do_not_allow(
    exported: Exported,
) -> None:
    kind, module, path = exported.kind, exported.module, exported.path
    given = {name: tensor.numpy() for name, tensor in OTHER[kind].items()}
    with edgexf.load(path) as session:
        (found,) = session.run(**given).values()
        signature = session.manifest.signature
        assert signature is not None
        for axis in signature.axes:
            wrong = axis.most + 1 if axis.name != signature.samples else 0
            cut = {
                name: np.resize(
                    array,
                    [
                        wrong if called == axis.name else size
                        for called, size in zip(tensor.shape, array.shape, strict=True)
                    ],
                )
                for (name, array), tensor in zip(given.items(), session.manifest.variants[0].inputs, strict=True)
            }
            with pytest.raises(InputError, match=axis.name):
                session.run(**cut)
        name = next(iter(signature.below))
        with pytest.raises(InputError, match=f"{name} must be 0 to {signature.below[name] - 1}"):
            session.run(**{**given, name: np.full_like(given[name], -1)})
        with pytest.raises(UsageError, match="inputs must be the model's"):
            session.run(**{**given, "others": given[name]})
    wanted = answer(module, OTHER[kind])
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_the_graph_verifies_again_and_holds_no_random_operator(exported: Exported) -> None:
    from edgexf.pipeline.verify_bundle import verify

    verdict = verify(exported.path)
    assert verdict.passed
    assert verdict.bundle.manifest.grid["checks"]["no random operator in onnx/model.onnx"] == ""


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_later_token_changes_no_earlier_logit(kind: str, exported_of: Callable[[str], Exported]) -> None:
    """Earlier logits are exactly equal, because a causal mask gives hidden tokens the weight 0."""
    session = ort.InferenceSession(str(exported_of(kind).path / "onnx" / "model.onnx"))
    feeds = {name: tensor.numpy() for name, tensor in OTHER[kind].items()}
    name = "tokens" if kind == "[sequence, batch]" else "tgt"
    axis = 0 if kind == "[sequence, batch]" else 1
    (before,) = session.run(None, feeds)
    for place in (1, 17, feeds[name].shape[axis] - 1):
        changed = feeds[name].copy()
        later = np.moveaxis(changed, axis, 0)
        later[place] = (later[place] + 1) % 40
        (after,) = session.run(None, {**feeds, name: changed})
        earlier = tuple(slice(None) if one != axis else slice(0, place) for one in range(3))
        assert np.array_equal(after[earlier], before[earlier])
        assert not np.array_equal(after, before)


BROKEN: dict[str, tuple[Any, str, Any, str]] = {
    "the projection of another length": (
        linformer.Attention, "heads", lambda self, tokens: tokens.flip(1).unflatten(2, (-1, self.original.dim_head)).transpose(1, 2), "linformer classifier",
    ),
    "a chunk that does not look back": (
        reformer_pytorch.Attention, "with_previous", lambda _, chunks: torch.cat((chunks, chunks), dim=3), "reformer LM",
    ),
    "buckets by a sign": (
        reformer_pytorch.Attention, "buckets", lambda self, shared, buckets: (shared[..., :1] > 0).long().squeeze(-1).unsqueeze(2).expand(-1, -1, self.rounds, -1) * (buckets - 1), "reformer LM",
    ),
    "padding that counts": (torch_nn.Attention, "bias", lambda _, attention, __: attention, "source and target"),
    "a decoder that sees the future": (torch_nn, "additive", lambda mask: torch.zeros_like(mask, dtype=torch.float32), "[sequence, batch]"),
    "a first guess of another scale": (
        nystrom_attention, "inverse", lambda matrix, _: matrix.transpose(-1, -2), "landmarks",
    ),
    "windows shifted by one": (
        local_attention.Attention, "outside", lambda self, windows: torch.zeros(windows, 1, self.itself.shape[1], dtype=torch.bool), "nearby",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_lowering_is_refused(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, instead, kind = BROKEN[fault]
    monkeypatch.setattr(where, name, instead)
    module, examples = small(kind)
    with pytest.raises(VerificationError, match="a graph must agree with its model"):
        edgexf.export(module, example_inputs=examples, output=tmp_path / "bundle", explain=())
    assert not (tmp_path / "bundle").exists()


def test_a_classifier_of_ids_is_explained_as_autograd_does(tmp_path: Path) -> None:
    module, examples = small("linformer classifier")
    bundle = edgexf.export(module, example_inputs=(examples["ids"],), output=tmp_path / "bundle")
    assert bundle.manifest.methods == ("attnlrp",)
    given = ids(3, 45, seed=5)
    vectors = module.embed(given).detach().requires_grad_(True)  # type: ignore[operator]
    with frozen(module), Rules():
        logits = module.head(module.body(vectors).mean(dim=1))  # type: ignore[operator]
        (gradient,) = torch.autograd.grad(logits[:, 2].sum(), vectors)
    wanted = (gradient * vectors.detach()).sum(-1).numpy()
    with edgexf.load(tmp_path / "bundle") as session:
        found = session.run_explain(ids=given.numpy(), target=np.eye(4, dtype=np.float32)[[2, 2, 2]])
    assert np.abs(found["relevance"] - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_a_language_model_of_sequences_first_is_explained_at_a_position(tmp_path: Path) -> None:
    """Relevance has the shape of the ids, [sequence, batch]. Tokens behind the position have no relevance."""
    module, examples = small("[sequence, batch]")
    edgexf.export(module, example_inputs=examples, output=tmp_path / "bundle")
    tokens, position = ids(40, 3, seed=5), torch.tensor([39, 7, 0])
    target = torch.eye(VOCABULARY)[[5, 6, 7]]
    leaves: list[torch.Tensor] = []

    def leaf(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        leaves.append(output.detach().requires_grad_(True))
        return leaves[-1]

    with frozen(module), Rules():
        with module.embed.register_forward_hook(leaf):  # type: ignore[operator,union-attr]
            logits = module(tokens)[position, torch.arange(3), [5, 6, 7]]
        (gradient,) = torch.autograd.grad(logits.sum(), leaves)
    wanted = (gradient * leaves[0].detach()).sum(-1).numpy()
    with edgexf.load(tmp_path / "bundle") as session:
        found = session.run_explain(tokens=tokens.numpy(), target=target.numpy(), position=position.numpy())
    assert np.abs(found["relevance"] - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    later = torch.arange(40)[:, None] > position
    assert not found["relevance"][later.numpy()].any()
    whole = found["relevance"].sum(axis=0) + found["residual"]
    assert np.abs(whole - logits.detach().numpy()).max() <= TOLERANCE * np.abs(wanted).sum()


def test_an_export_leaves_the_module_as_it_was(exported: Exported) -> None:
    assert exported.after == exported.before
    assert exported.before[-1]  # the fast path of nn.TransformerEncoder was on


def test_the_graph_is_no_further_from_a_free_running_model_than_two_of_its_runs_are_from_each_other(
    exported_of: Callable[[str], Exported],
) -> None:
    """reformer_pytorch draws new rotations at every call."""
    made = exported_of("reformer LM")
    given = ids(2, 64, seed=3)
    torch.manual_seed(1)
    with torch.no_grad():
        runs = [made.module(given).numpy() for _ in range(8)]
    with edgexf.load(made.path) as session:
        found = session.run(x=given.numpy())["logits"]
    between = np.mean([np.abs(one - other).mean() for place, one in enumerate(runs) for other in runs[:place]])
    assert between > 0
    assert np.mean([np.abs(found - one).mean() for one in runs]) <= 1.25 * between  # 25 % for the spread of 8 runs


def test_two_exports_are_of_the_same_bytes(exported_of: Callable[[str], Exported], tmp_path: Path) -> None:
    module, examples = small("linformer classifier")
    again = edgexf.export(module, example_inputs=examples, output=tmp_path / "bundle", explain=()).manifest
    assert again.files == bundle.read(exported_of("linformer classifier").path).files


def axes_of(manifest: Manifest) -> dict[str, Axis]:
    assert manifest.signature is not None
    return {axis.name: axis for axis in manifest.signature.axes}


def test_dynamic_shapes_name_and_bound_the_axes(tmp_path: Path) -> None:
    module, examples = small("linformer classifier")
    shapes = {"ids": {0: Dim("rows"), 1: Dim("tokens", min=8, max=40)}}
    axes = axes_of(exports(module, examples, tmp_path, dynamic_shapes=shapes))
    assert axes["tokens"] == Axis("tokens", 8, 40, 1)
    assert set(axes) == {"rows", "tokens"}


def test_a_length_is_bounded_without_a_name_of_its_axis(tmp_path: Path) -> None:
    """The grid ends at the bound. A bound beyond what the module answers changes nothing, nor does one beyond a Dim's."""
    module, examples = small("linformer classifier")
    manifest = exports(module, examples, tmp_path, max_length=20)
    assert axes_of(manifest)["sequence_length"] == Axis("sequence_length", 2, 20, 1)
    assert manifest.limits.max_length == max(row["length"] for row in manifest.grid["rows"]) == 20
    with edgexf.load(tmp_path / "bundle") as session, pytest.raises(InputError, match="must be 2 to 20, got 21"):
        session.run(ids=ids(2, 21).numpy())
    found = from_module(module, examples, max_length=200).limits.max_length
    assert found == from_module(module, examples).limits.max_length == 80
    for most, longest in ((30, 30), (60, 40)):
        source = from_module(module, examples, {"ids": {0: "rows", 1: Dim("tokens", max=40)}}, max_length=most)
        assert source.limits.max_length == longest


def test_an_axis_that_dynamic_shapes_leave_out_is_fixed(tmp_path: Path) -> None:
    module, examples = small("linformer classifier")
    manifest = exports(module, examples, tmp_path, dynamic_shapes=({0: Dim.DYNAMIC},))
    assert manifest.variants[0].inputs[0].shape == ("batch_size", 16)
    with edgexf.load(tmp_path / "bundle") as session, pytest.raises(InputError, match="must have 16 entries"):
        session.run(ids=ids(2, 17).numpy())


class Answers(nn.Module):
    """Returns outputs of several types; one of them is integer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)

    def forward(self, ids: Tensor, scale: float = 1.0) -> dict[str, Any]:
        hidden = self.embed(ids) * scale
        return {"hidden": hidden, "best": hidden.argmax(-1), "cache": None}


def test_an_answer_may_be_a_dictionary_and_an_argument_no_tensor(tmp_path: Path) -> None:
    module = Answers().eval()
    manifest = exports(module, {"ids": ids(2, 16), "scale": 3.0}, tmp_path)
    assert [(one.name, one.dtype, one.shape) for one in manifest.variants[0].outputs] == [
        ("hidden", "float32", ("batch_size", "sequence_length", 8)),
        ("best", "int64", ("batch_size", "sequence_length")),
    ]
    given = ids(3, 7)
    with edgexf.load(tmp_path / "bundle") as session:
        found = session.run(ids=given.numpy())
    assert np.array_equal(found["best"], module(given, 3.0)["best"].numpy())


def test_half_precision_weights_are_exported_in_float32_from_a_copy(tmp_path: Path) -> None:
    module, examples = small("linformer classifier")
    module.half()
    exports(module, examples, tmp_path)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float16}
