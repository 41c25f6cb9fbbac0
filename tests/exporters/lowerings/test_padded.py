"""Library models inside custom modules: padded around the model, whatever the head does with its tokens."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from library_models import BASES, LONGEST, SIZES, VOCABULARY, WIDTHS, inputs, masked_mean
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    BigBirdConfig,
    BigBirdModel,
    LongformerConfig,
    LongformerModel,
    MPNetConfig,
    MPNetModel,
)

import edgexf
from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError, InputError
from edgexf_exporters.lowerings.swap import lowered
from edgexf_exporters.sources.calls import surrounding

HEADS: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "first": lambda _, tokens, __: tokens[:, 0],
    "masked mean": lambda _, tokens, mask: masked_mean(tokens, mask),
    "mean": lambda _, tokens, __: tokens.mean(1),
    "convolution": lambda own, tokens, _: own.convolution(tokens.transpose(1, 2)).amax(2),
    "lstm": lambda own, tokens, _: own.lstm(tokens)[0][:, -1],
}


class Classifier(nn.Module):
    """A library model, and a head that reads its tokens in one of the ways of `HEADS`."""

    def __init__(self, base: str, head: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        width = WIDTHS.get(base, 16)
        self.base, self.head = BASES[base](), HEADS[head]
        self.convolution, self.lstm = nn.Conv1d(width, width, 3, padding=1), nn.LSTM(width, width, batch_first=True)
        self.classify = nn.Linear(width, 3)
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        tokens = self.base(input_ids, attention_mask=attention_mask)[0]
        answer: Tensor = self.classify(self.head(self, tokens, attention_mask))
        return answer


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("base", BASES)
def test_a_head_sees_as_many_tokens_as_without_edgexf(base: str, head: str) -> None:
    """In float64, so that a difference is no rounding; a softmax of Longformer's library stays in float32."""
    module = Classifier(base, head).double()
    around = surrounding(module)
    limits = Limits(VOCABULARY, 1, LONGEST, 1, 1, "none")
    for rows, length, padding in ((1, 6, 0), (2, 13, 5), (1, 17, 16), (2, 40, 9), (3, LONGEST, 20)):
        ids, mask = inputs(rows, length, padding)
        with torch.no_grad(), around(module):
            wanted = module(ids, mask)
        with torch.no_grad(), lowered(module, limits, inside=True) as asked:
            found = module(ids, mask)
        assert not asked.blocked
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6, msg=f"{rows} rows of {length}")


class Pair(nn.Module):
    """Two encoders of one layer that share a head, and answer with a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        sizes = {**SIZES, "num_hidden_layers": 1}
        self.one = LongformerModel(
            LongformerConfig(**sizes, max_position_embeddings=LONGEST + 2, attention_window=[8], pad_token_id=1)
        )
        self.two = BigBirdModel(
            BigBirdConfig(**sizes, max_position_embeddings=LONGEST, block_size=4, num_random_blocks=1)
        )
        self.classify = nn.Linear(16, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, other_ids: Tensor) -> dict[str, Tensor]:
        chosen = torch.zeros_like(input_ids)
        chosen[:, 0] = 1
        one = self.one(input_ids, attention_mask, chosen).pooler_output
        two = self.two(other_ids, return_dict=False)[0]
        return {"logits": self.classify(one) + self.classify(two.mean(1)), "tokens": two}


@pytest.mark.slow
def test_two_encoders_export_and_explain_and_quantize(tmp_path: Path) -> None:
    module = Pair().eval()
    ids, mask = inputs(2, 20, 0)
    edgexf.export(module, example_inputs=(ids, mask, ids[:, :11].clone()), output=tmp_path / "out", explain="attnlrp")
    edgexf.quantize(tmp_path / "out", "int8", force=True)
    ids, mask = inputs(2, 41, 8)
    others = inputs(2, 30, 0)[0]
    with torch.no_grad(), surrounding(module)(module):
        wanted = module(ids, mask, others)["logits"].numpy()
    feeds = {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "other_ids": others.numpy()}
    for dtype, tolerance in (("fp32", 1e-5), ("q8", 0.05)):  # the second is the bound of rounding to 8 bits
        with edgexf.load(tmp_path / "out", dtype=dtype) as session:
            np.testing.assert_allclose(session.run(**feeds)["logits"], wanted, atol=tolerance)


class Chosen(nn.Module):
    """A Longformer whose global tokens the caller chooses."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.base, self.classify = BASES["longformer"](), nn.Linear(16, 3)

    def forward(self, input_ids: Tensor, global_attention_mask: Tensor) -> Tensor:
        answer: Tensor = self.classify(self.base(input_ids, global_attention_mask=global_attention_mask)[0].mean(1))
        return answer


@pytest.mark.slow
def test_global_tokens_are_as_many_as_the_export_takes(tmp_path: Path) -> None:
    module = Chosen().eval()
    ids, mask = inputs(2, 20, 0)
    edgexf.export(module, example_inputs=(ids, 1 - mask), output=tmp_path / "out", explain=(), max_global=3)
    ids, chosen = inputs(2, 30, 0)[0], torch.zeros(2, 30, dtype=torch.int64)
    chosen[0, [4, 9, 25]] = 1
    with torch.no_grad():
        wanted = module(ids, chosen).numpy()
    with edgexf.load(tmp_path / "out") as session:
        found = session.run(input_ids=ids.numpy(), global_attention_mask=chosen.numpy())["logits"]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        chosen[1, :4] = 1
        with pytest.raises(InputError, match="at most 3 global tokens, got 4"):
            session.run(input_ids=ids.numpy(), global_attention_mask=chosen.numpy())


def test_a_row_with_too_many_global_tokens_answers_nan() -> None:
    """No runtime counts tokens that forward itself makes global."""
    module = Chosen().eval()
    ids, chosen = inputs(2, 20, 0)
    chosen[0, 1:] = 0
    with torch.no_grad(), lowered(module, Limits(VOCABULARY, 1, LONGEST, 1, 2, "none"), inside=True):
        answer = module(ids, chosen)
    assert answer[0].isfinite().all()
    assert answer[1].isnan().all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda base, ids: base(ids, inputs_embeds=torch.zeros(*ids.shape, 16)),
            "got both input_ids and inputs_embeds",
        ),
        (lambda base, _: base(inputs_embeds=torch.zeros(20, 16)), "got inputs_embeds with 2 axes"),
        (lambda base, ids: base(ids, attention_mask=torch.ones(2, 1, 20, 20)), "got attention_mask with 4 axes"),
        (lambda base, ids: base(ids, output_hidden_states=[1]), r"got output_hidden_states=\[1\]"),
        (lambda base, ids: base(ids, output_attentions=True), "got output_attentions"),
        (lambda base, _: base(), "got a call without input_ids"),
    ],
)
def test_a_call_that_is_not_lowered_is_refused(call: Callable[[Any, Tensor], object], said: str) -> None:
    base = BASES["bigbird"]()
    holder = nn.ModuleList([base])
    ids, _ = inputs(2, 20, 0)
    with (
        lowered(holder, Limits(VOCABULARY, 1, LONGEST, 1, 1, "none"), inside=True),
        pytest.raises(ExportError, match=said),
    ):
        call(holder[0], ids)


def plain(base: BertModel | MPNetModel, ids: Tensor, mask: Tensor) -> Tensor:
    return base(ids, attention_mask=mask)[0]


def own_positions(base: BertModel | MPNetModel, ids: Tensor, mask: Tensor) -> Tensor:
    return base(ids, attention_mask=mask, position_ids=(mask.cumsum(1) + 1).clamp(max=9))[0]


def hidden_states(base: BertModel | MPNetModel, ids: Tensor, mask: Tensor) -> Tensor:
    return base(ids, attention_mask=mask, output_hidden_states=True).hidden_states[1]


def vectors(base: BertModel | MPNetModel, ids: Tensor, mask: Tensor) -> Tensor:
    return base(inputs_embeds=base.embeddings.word_embeddings(ids) * 2, attention_mask=mask)[0]


@pytest.mark.parametrize("call", [plain, own_positions, hidden_states, vectors])
@pytest.mark.parametrize("base", [BertModel(BertConfig(**SIZES)), MPNetModel(MPNetConfig(**SIZES))])
def test_what_a_dense_lowering_does_not_take_goes_to_the_library(
    base: BertModel | MPNetModel, call: Callable[..., Tensor]
) -> None:
    holder = nn.ModuleList([base.eval()])
    ids, mask = inputs(2, 12, 5)
    mask = mask.flip(1)  # padding on the left
    with torch.no_grad():
        wanted = call(base, ids, mask)
        with lowered(holder, Limits(VOCABULARY, 1, LONGEST, 1, 1, "none"), inside=True):
            found = call(holder[0], ids, mask)
    torch.testing.assert_close(found[mask > 0], wanted[mask > 0], rtol=0, atol=1e-6)


def test_a_decoder_inside_a_module_stays_the_librarys() -> None:
    base = BertModel(BertConfig(**SIZES, is_decoder=True)).eval()
    ids, mask = inputs(2, 12, 0)
    with torch.no_grad():
        wanted = base(ids, attention_mask=mask)[0]
        with lowered(holder := nn.ModuleList([base]), Limits(VOCABULARY, 1, LONGEST, 1, 1, "none"), inside=True):
            torch.testing.assert_close(holder[0](ids, attention_mask=mask)[0], wanted)


def test_a_mask_of_two_makes_a_token_global() -> None:
    """As in the library, which merges both masks so."""
    module = Chosen().eval()
    ids, mask = inputs(2, 20, 6)
    mask[0, [3, 7]] = 2
    with torch.no_grad():
        wanted = module.base(ids, attention_mask=mask)[0]
        with lowered(module, Limits(VOCABULARY, 1, LONGEST, 1, 2, "none"), inside=True):
            found = module.base(ids, attention_mask=mask)[0]
        with lowered(module, Limits(VOCABULARY, 1, LONGEST, 1, 1, "none"), inside=True):
            fewer = module.base(ids, attention_mask=mask)[0]
    torch.testing.assert_close(found[mask > 0], wanted[mask > 0], rtol=0, atol=1e-6)
    assert fewer[0].isnan().all()
    assert fewer[1].isfinite().all()


def test_a_module_is_as_before_after_an_export() -> None:
    module = Classifier("funnel", "mean")
    before = copy.copy(module.base.__dict__["_modules"])
    with lowered(module, Limits(VOCABULARY, 1, LONGEST, 1, 1, "none"), inside=True):
        assert module._modules["base"] is not None
    assert module.base.__dict__["_modules"] == before
