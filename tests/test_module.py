"""Any module: exported by example inputs, run by onnxruntime alone, refused in a sentence where it can't be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import modules
import numpy as np
import onnxruntime as ort
import pytest
import torch
from modules import VOCABULARY, ids, small
from torch import Tensor, nn
from torch.export import Dim

import edgexf
from edgexf.errors import ExportError, InputError, UsageError, VerificationError
from edgexf.manifest import Manifest
from edgexf.signature import Axis
from edgexf_exporters import linformer, local_attention, nystrom_attention, reformer_pytorch, torch_nn
from edgexf_exporters.module import surrounding

TOLERANCE = 1e-4  # of an output's largest value: the contract's own

OTHER: dict[str, dict[str, Tensor]] = {  # inputs of sizes that no trace had
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


@pytest.fixture(scope="module", params=OTHER)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, nn.Module, Path]:
    """The kind of a module, the module, and its bundle."""
    module, examples = small(request.param)
    path = tmp_path_factory.mktemp("module") / "bundle"
    edgexf.export(module, example_inputs=examples, output=path, explain=())
    return request.param, module, path


def answer(module: nn.Module, inputs: dict[str, Tensor]) -> np.ndarray[Any, Any]:
    """The eager model's, with the rotations of the graph where its library draws some."""
    with torch.no_grad(), surrounding(module)(module):
        found: np.ndarray[Any, Any] = module(**inputs).numpy()
    return found


def test_onnxruntime_alone_answers_as_the_module_does_at_other_sizes(exported: tuple[str, nn.Module, Path]) -> None:
    kind, module, path = exported
    session = ort.InferenceSession(str(path / "onnx" / "model.onnx"))
    assert [value.name for value in session.get_inputs()] == list(small(kind)[1])
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in OTHER[kind].items()})
    wanted = answer(module, OTHER[kind])
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_the_runtime_takes_the_inputs_by_their_names_and_refuses_what_the_axes_do_not_allow(
    exported: tuple[str, nn.Module, Path],
) -> None:
    kind, module, path = exported
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


def test_the_graph_verifies_again_and_holds_no_random_operator(exported: tuple[str, nn.Module, Path]) -> None:
    from edgexf.pipeline import verify

    verdict = verify(exported[2])
    assert verdict.passed
    assert verdict.bundle.manifest.grid["checks"]["no random operator in onnx/model.onnx"] == ""


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_later_token_changes_no_earlier_logit(kind: str, tmp_path: Path) -> None:
    """Exactly: what a causal mask hides has a weight of 0."""
    module, examples = small(kind)
    edgexf.export(module, example_inputs=examples, output=tmp_path / "bundle", explain=())
    session = ort.InferenceSession(str(tmp_path / "bundle" / "onnx" / "model.onnx"))
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
        reformer_pytorch.Attention, "with_previous", lambda _, chunks: torch.cat((chunks, chunks), dim=3), "causal reformer",
    ),
    "buckets by a sign": (
        reformer_pytorch.Attention, "buckets", lambda self, shared, buckets: (shared[..., :1] > 0).long().squeeze(-1).unsqueeze(2).expand(-1, -1, self.rounds, -1) * (buckets - 1), "causal reformer",
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
    assert bundle.manifest.methods == ("gradient",)
    given = ids(3, 45, seed=5)
    vectors = module.embed(given).detach().requires_grad_(True)  # type: ignore[operator]
    logits = module.head(module.body(vectors).mean(dim=1))  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(logits[:, 2].sum(), vectors)
    wanted = (gradient * vectors.detach()).sum(-1).numpy()
    with edgexf.load(tmp_path / "bundle") as session:
        found = session.run_explain(ids=given.numpy(), target=np.eye(4, dtype=np.float32)[[2, 2, 2]])
    assert np.abs(found["relevance"] - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_an_export_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    module, examples = small("causal reformer")
    module.train()
    before = [(name, type(part), part.training) for name, part in module.named_modules()]
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    edgexf.export(module, example_inputs=examples, output=tmp_path / "bundle", explain=())
    assert [(name, type(part), part.training) for name, part in module.named_modules()] == before
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_graph_is_no_further_from_a_free_running_model_than_two_of_its_runs_are_from_each_other(
    tmp_path: Path,
) -> None:
    """reformer_pytorch draws rotations at every call."""
    module, examples = small("reformer LM")
    edgexf.export(module, example_inputs=examples, output=tmp_path / "bundle", explain=())
    given = ids(2, 64, seed=3)
    torch.manual_seed(1)
    with torch.no_grad():
        runs = [module(given).numpy() for _ in range(8)]
    with edgexf.load(tmp_path / "bundle") as session:
        found = session.run(x=given.numpy())["logits"]
    between = np.mean([np.abs(one - other).mean() for place, one in enumerate(runs) for other in runs[:place]])
    assert between > 0
    assert np.mean([np.abs(found - one).mean() for one in runs]) <= 1.25 * between  # of 8 runs: their spread


def test_two_exports_are_of_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        module, examples = small("causal reformer")
        made.append(edgexf.export(module, example_inputs=examples, output=tmp_path / name, explain=()).manifest)
    assert made[0].files == made[1].files


def exports(module: nn.Module, examples: Any, tmp_path: Path, **chosen: Any) -> Manifest:
    return edgexf.export(module, example_inputs=examples, output=tmp_path / "bundle", explain=(), **chosen).manifest


def axes_of(manifest: Manifest) -> dict[str, Axis]:
    assert manifest.signature is not None
    return {axis.name: axis for axis in manifest.signature.axes}


def test_dynamic_shapes_name_and_bound_the_axes(tmp_path: Path) -> None:
    module, examples = small("linformer classifier")
    shapes = {"ids": {0: Dim("rows"), 1: Dim("tokens", min=8, max=40)}}
    axes = axes_of(exports(module, examples, tmp_path, dynamic_shapes=shapes))
    assert axes["tokens"] == Axis("tokens", 8, 40, 1)
    assert set(axes) == {"rows", "tokens"}


def test_an_axis_that_dynamic_shapes_leave_out_is_fixed(tmp_path: Path) -> None:
    module, examples = small("linformer classifier")
    manifest = exports(module, examples, tmp_path, dynamic_shapes=({0: Dim.DYNAMIC},))
    assert manifest.variants[0].inputs[0].shape == ("batch", 16)
    with edgexf.load(tmp_path / "bundle") as session, pytest.raises(InputError, match="must have 16 entries"):
        session.run(ids=ids(2, 17).numpy())


class Answers(nn.Module):
    """Answers of several kinds, one of them a whole number."""

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
        ("hidden", "float32", ("batch", "sequence", 8)),
        ("best", "int64", ("batch", "sequence")),
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


class Odd(nn.Module):
    """What stops a trace, one thing at a time."""

    def __init__(self, inner: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.inner = Inner(inner)

    def forward(self, ids: Tensor) -> Tensor:
        return self.inner(self.embed(ids)).mean(1)


class Inner(nn.Module):
    def __init__(self, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.does = does

    def forward(self, hidden: Tensor) -> Tensor:
        return self.does(hidden)


def by_value(hidden: Tensor) -> Tensor:
    return hidden * 2 if hidden.sum() > 0 else hidden


def by_length(hidden: Tensor) -> Tensor:
    return torch.stack([hidden[:, place] * place for place in range(hidden.shape[1])], dim=1)


@pytest.mark.parametrize(("does", "line"), [(by_value, "if hidden.sum() > 0"), (by_length, "for place in range")])
def test_a_failed_trace_names_the_line_and_the_module(
    does: Callable[[Tensor], Tensor], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError) as found:
        exports(Odd(does), (ids(2, 16),), tmp_path)
    assert f"test_module.py:{does.__code__.co_firstlineno + 1}" in str(found.value)
    assert line in str(found.value)
    assert "in inner (Inner)" in str(found.value)
    assert "def forward" not in capsys.readouterr().err  # torch prints its graph


def at_random(hidden: Tensor) -> Tensor:
    return hidden + torch.randn_like(hidden)


def test_a_module_that_draws_at_random_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="must answer the same inputs alike"):
        exports(Odd(at_random), (ids(2, 16),), tmp_path)


class Wrapped(nn.Module):
    """Names of the ecosystem, examples of equal values, two embeddings of one input."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.types = nn.Embedding(VOCABULARY, 8), nn.Embedding(2, 8)
        self.bigger = nn.Embedding(VOCABULARY + 9, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
        hidden = self.embed(input_ids) + self.bigger(input_ids) + self.types(token_type_ids)
        kept = attention_mask.unsqueeze(-1).float()
        return {"logits": self.head((hidden * kept).sum(1) / kept.sum(1)), "real": attention_mask > 0}


def test_inputs_of_equal_examples_are_told_apart(tmp_path: Path) -> None:
    one = torch.ones(2, 16, dtype=torch.long)
    examples = {"input_ids": one, "attention_mask": one.clone(), "token_type_ids": one.clone()}
    manifest = exports(Wrapped().eval(), examples, tmp_path)
    assert manifest.signature is not None
    assert manifest.signature.below == {"input_ids": VOCABULARY, "token_type_ids": 2}
    assert {row["mask"] for row in manifest.grid["rows"]} == {"none", "right", "one"}
    assert manifest.variants[0].outputs[1].dtype == "bool"


def test_axes_of_the_same_range_are_told_apart(tmp_path: Path) -> None:
    module, examples = small("source and target")
    bounds = {"src": {0: "batch", 1: Dim("a", max=20)}, "tgt": {0: "batch", 1: Dim("b", max=20)}}
    examples.pop("src_key_padding_mask")
    manifest = exports(module, examples, tmp_path, dynamic_shapes=bounds)
    assert manifest.variants[0].outputs[0].shape == ("batch", "b", 40)


def test_a_batch_may_be_bounded_and_the_bundle_verifies(tmp_path: Path) -> None:
    from edgexf.pipeline import verify

    module, examples = small("linformer classifier")
    shapes = {"ids": {0: Dim("rows", min=4, max=16), 1: "words"}}
    exports(module, {"ids": examples["ids"].repeat(3, 1)}, tmp_path, dynamic_shapes=shapes)
    assert verify(tmp_path / "bundle").passed


class Masked(nn.Module):
    """Its mask is true at padding, whatever its name says; it writes to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        ids += 0
        kept = (~mask).unsqueeze(-1).float()
        return self.head((self.embed(ids).tanh() * kept).sum(1) / kept.sum(1))


def test_a_mask_means_what_its_example_says_and_padding_has_no_relevance(tmp_path: Path) -> None:
    torch.manual_seed(0)
    examples = {"ids": ids(2, 16), "mask": torch.zeros(2, 16, dtype=torch.bool)}
    bundle = edgexf.export(Masked().eval(), example_inputs=examples, output=tmp_path / "bundle")
    assert {row["mask"] for row in bundle.manifest.grid["rows"]} == {"none", "right", "one"}
    with edgexf.load(tmp_path / "bundle") as session:
        found = session.run_explain(ids=ids(2, 9).numpy(), mask=(torch.arange(9) > 5).expand(2, -1).numpy())
    assert np.all(found["relevance"][:, 6:] == 0)
    assert np.all(found["relevance"][:, :6] != 0)


def in_the_middle(hidden: Tensor) -> Tensor:
    return hidden * 2 if 10 < hidden.shape[1] < 20 else hidden


def at_tens(hidden: Tensor) -> Tensor:
    return hidden * 2 if hidden.shape[1] % 10 == 0 else hidden


def for_two(hidden: Tensor) -> Tensor:
    return hidden * 2 if hidden.shape[0] == 2 else hidden


def in_the_distance(hidden: Tensor) -> Tensor:
    return hidden * 2 if 300 < hidden.shape[1] < 1000 else hidden


@pytest.mark.parametrize(
    ("does", "kind", "says"),
    [
        (in_the_middle, VerificationError, "differs where .*sequence is 11"),
        (at_tens, VerificationError, "differs where .*sequence is 10"),
        (for_two, VerificationError, "differs where batch is 2"),
        (in_the_distance, ExportError, "got one up to 300, beyond which forward goes another way"),
    ],
)
def test_a_way_of_forward_that_no_cell_of_the_grid_takes_is_found(
    does: Callable[[Tensor], Tensor], kind: type[Exception], says: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=says):
        exports(Odd(does), (ids(2, 16),), tmp_path)


@pytest.mark.parametrize(
    ("examples", "chosen", "says"),
    [
        ((), {}, "must fit Classifier.forward"),
        ((ids(2, 16), ids(2, 16)), {}, "must fit Classifier.forward"),
        ({"tokens": ids(2, 16)}, {}, "must fit Classifier.forward"),
        ((3,), {}, "must hold a tensor"),
        ((ids(8, 8),), {}, "must have different sizes"),
        ((ids(2, 16),), {"dynamic_shapes": (3,)}, "must be a dictionary by axis"),
        ((ids(2, 16),), {"dynamic_shapes": ({1: Dim("n", max=12)},)}, "must keep to its own bounds"),
        ((ids(2, 16),), {"dynamic_shapes": ({1: Dim("n", max=100)},)}, "no answer beyond 80 for the max of 100"),
        (([ids(2, 16)],), {}, "must hold a tensor|tensors inside ids"),
        ((ids(2, 16) + VOCABULARY,), {}, "must answer its example inputs"),
        ((ids(2, 16),), {"dynamic_shapes": {"other": {}}}, "must name inputs"),
        ((ids(2, 16),), {"dynamic_shapes": ({5: Dim.DYNAMIC},)}, "must name axes 0 to 1"),
        ((ids(2, 16),), {"dynamic_shapes": ({}, {})}, "an entry for each input"),
        ((ids(2, 16),), {"task": "text-classification"}, "leave the others out"),
    ],
)
def test_examples_that_do_not_fit_are_a_sentence(
    examples: Any, chosen: dict[str, Any], says: str, tmp_path: Path
) -> None:
    module, _ = small("linformer classifier")
    with pytest.raises((UsageError, ExportError), match=says):
        exports(module, examples, tmp_path, **chosen)
    assert not (tmp_path / "bundle").exists()


def test_a_module_without_examples_is_asked_for_them() -> None:
    with pytest.raises(UsageError, match="needs example_inputs"):
        edgexf.export(modules.Classifier())


def test_an_attention_that_takes_whole_blocks_is_refused_inside_a_module(tmp_path: Path) -> None:
    from families import small as family

    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = family("Longformer", "Model")

        def forward(self, ids: Tensor) -> Tensor:
            return self.base(ids).last_hidden_state

    with pytest.raises(ExportError, match="take any length"):
        exports(Headed(), (ids(2, 16, 40) + 4,), tmp_path)
