"""What a custom module may ask of a library model inside it: hidden states, own vectors, rows without real tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from library_models import BASES, LONGEST, SIZES, VOCABULARY, inputs, masked_mean
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    EsmConfig,
    EsmModel,
    RobertaConfig,
    RobertaModel,
)

import edgexf
from edgexf.bundle.manifest import Limits
from edgexf_exporters.lowerings.swap import lowered
from edgexf_exporters.sources.calls import surrounding

LIMITS = Limits(VOCABULARY, 1, LONGEST, 1, 1, "none")
DENSE: dict[str, Callable[[str], Any]] = {
    "bert": lambda kind: BertModel(BertConfig(**SIZES, attn_implementation=kind)),
    "roberta": lambda kind: RobertaModel(RobertaConfig(**SIZES, attn_implementation=kind)),
    "distilbert": lambda kind: DistilBertModel(
        DistilBertConfig(vocab_size=VOCABULARY, dim=16, n_layers=2, n_heads=2, hidden_dim=24, attn_implementation=kind)
    ),
    "esm": lambda kind: EsmModel(
        EsmConfig(**SIZES, pad_token_id=1, token_dropout=False, position_embedding_type="rotary", attn_implementation=kind)
    ),
}  # fmt: skip


def held(make: Callable[[], Any]) -> Any:
    """A module that holds a library model in float64 whose biases are not 0, as in a trained one."""
    torch.manual_seed(0)
    base = make().eval().double()
    with torch.no_grad():
        for weight in base.parameters():
            weight += torch.randn_like(weight) / 10
    return nn.ModuleList([base])


def both(holder: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """The answers of a call to the untouched library model, and to the lowered one."""
    with torch.no_grad(), surrounding(holder)(holder):
        wanted = holder[0](*args, **kwargs)
    with torch.no_grad(), lowered(holder, LIMITS, inside=True):
        return wanted, holder[0](*args, **kwargs)


def states(answer: Any) -> Any:
    return answer.encoder_hidden_states if "encoder_hidden_states" in answer else answer.hidden_states


@pytest.mark.parametrize("base", BASES)
def test_hidden_states_are_the_librarys_without_padding(base: str) -> None:
    """BigBird, BigBird-Pegasus and Reformer leave their padding in the hidden states: the tokens before it are the same."""
    holder = held(BASES[base])
    for length, padding in ((6, 0), (13, 5), (45, 0), (LONGEST, 20)):
        ids, mask = inputs(2, length, padding)
        wanted, found = map(states, both(holder, ids, attention_mask=mask, output_hidden_states=True))
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            whole = one.shape == other.shape or (
                base in ("bigbird", "bigbird_pegasus", "reformer") and one.shape[1] == length
            )
            assert whole, f"{one.shape} and {other.shape} of {length} tokens"
            # Longformer's library hides keys by the least number of float32, and its softmax stays in float32
            torch.testing.assert_close(one, other[:, : one.shape[1]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("base", BASES)
def test_a_config_may_ask_for_hidden_states_and_for_tuples(base: str) -> None:
    holder = held(BASES[base])
    config = holder[0].config
    config.output_hidden_states, config.return_dict = True, False
    ids, mask = inputs(2, 20 if base == "reformer" else 13, 5)
    wanted, found = both(holder, ids, attention_mask=mask)
    assert isinstance(found, tuple)
    assert [type(part) for part in found] == [type(part) for part in wanted]
    _, quiet = both(holder, ids, attention_mask=mask, output_hidden_states=False)
    assert len(quiet) < len(found)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("base", BASES)
def test_vectors_stand_in_for_ids(base: str, masked: bool) -> None:
    holder = held(BASES[base])
    for length, padding in ((6, 0), (13, 5), (45, 0), (LONGEST, 20)):
        ids, mask = inputs(2, length, padding)
        vectors = torch.randn(*ids.shape, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(length))
        given = {"inputs_embeds": vectors, **({"attention_mask": mask} if masked else {})}
        written = {"decoder_input_ids": ids[:, :5]} if base == "led" else {}
        wanted, found = both(holder, **given, **written)
        torch.testing.assert_close(found[0], wanted[0], rtol=0, atol=1e-6)


def test_vectors_of_the_longest_input_have_positions_where_blocks_reach_beyond_it() -> None:
    """A block holds all global tokens, so that many of them make it longer than a window of the library."""
    holder = held(BASES["longformer"])
    vectors = torch.randn(2, LONGEST, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = holder[0](inputs_embeds=vectors)[0]
        with lowered(holder, replace(LIMITS, max_global=20), inside=True):
            found = holder[0](inputs_embeds=vectors)[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)  # the library's softmax stays in float32


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
@pytest.mark.parametrize("base", DENSE)
def test_a_dense_row_without_real_tokens_is_answered_as_its_library_does(base: str, kind: str) -> None:
    """Scaled dot-product attention answers 0 for such a row, eager attention the mean of all values."""
    holder = held(lambda: DENSE[base](kind))
    ids, mask = inputs(2, 13, 13)
    wanted, found = both(holder, ids, attention_mask=mask)
    torch.testing.assert_close(found[0], wanted[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("base", ["longformer", "bigbird", "led", "reformer"])
def test_a_padded_row_without_real_tokens_is_answered_as_its_library_does(base: str) -> None:
    holder = held(BASES[base])
    for length in (7, 12, 45):
        ids, mask = inputs(2, length, length)
        wanted, found = both(holder, ids, attention_mask=mask)
        torch.testing.assert_close(found[0], wanted[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("base", ["funnel", "nystromformer"])
def test_a_row_without_real_tokens_is_nan_where_the_library_has_no_answer(base: str) -> None:
    holder = held(BASES[base])
    ids, mask = inputs(2, 13, 13)
    with torch.no_grad(), lowered(holder, LIMITS, inside=True):
        answer = holder[0](ids, attention_mask=mask, output_hidden_states=True)
    for hidden in (answer[0], *answer.hidden_states):
        assert hidden[0].isfinite().all()
        assert hidden[1].isnan().all()


def test_the_pooled_answer_of_too_many_global_tokens_is_nan_too() -> None:
    holder = held(BASES["longformer"])
    ids, mask = inputs(2, 20, 0)
    mask[1, :3] = 2
    with torch.no_grad(), lowered(holder, LIMITS, inside=True):
        pooled = holder[0](ids, attention_mask=mask).pooler_output
    assert pooled[0].isfinite().all()
    assert pooled[1].isnan().all()


class Prompted(nn.Module):
    """Soft prompts in front of the tokens, and a learned mean of the layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.base, self.prompt = BASES["longformer"](), nn.Parameter(torch.randn(1, 3, 16))
        self.weights, self.classify = nn.Parameter(torch.randn(3)), nn.Linear(16, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        vectors = self.base.get_input_embeddings()(input_ids)
        vectors = torch.cat((self.prompt.expand(input_ids.shape[0], -1, -1), vectors), dim=1)
        mask = torch.cat((attention_mask.new_ones(input_ids.shape[0], 3), attention_mask), dim=1)
        found = self.base(inputs_embeds=vectors, attention_mask=mask, output_hidden_states=True).hidden_states
        mixed = (torch.stack(found) * self.weights.softmax(0)[:, None, None, None]).sum(0)
        answer: Tensor = self.classify(masked_mean(mixed, mask))
        return answer


class Features(nn.Module):
    """Features of sounds or images in place of tokens, and the layer in the middle."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.base, self.project, self.classify = BASES["bigbird"](), nn.Linear(5, 16), nn.Linear(16, 3)

    def forward(self, features: Tensor) -> Tensor:
        found = self.base(inputs_embeds=self.project(features), output_hidden_states=True).hidden_states
        answer: Tensor = self.classify(found[1][:, 0])
        return answer


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Prompted, Features])
def test_a_module_with_own_vectors_and_hidden_states_exports_and_explains(
    kind: type[nn.Module], tmp_path: Path
) -> None:
    module = kind().eval()

    def given(rows: int, length: int, padding: int) -> dict[str, Tensor]:
        ids, mask = inputs(rows, length, padding)
        vectors = torch.randn(rows, length, 5, generator=torch.Generator().manual_seed(length))
        return {"features": vectors} if kind is Features else {"input_ids": ids, "attention_mask": mask}

    edgexf.export(module, example_inputs=tuple(given(2, 20, 0).values()), output=tmp_path / "out", explain="attnlrp")
    asked = given(2, 41, 8)
    with torch.no_grad(), surrounding(module)(module):
        wanted = module(**asked).numpy()
    feeds = {name: tensor.numpy() for name, tensor in asked.items()}
    with edgexf.load(tmp_path / "out") as session:
        np.testing.assert_allclose(session.run(**feeds)["logits"], wanted, atol=1e-5)  # rounding of float32
        found = session.run_explain(target=np.eye(3, dtype=np.float32)[[1, 1]], **feeds)
    assert found["relevance"].shape == next(iter(feeds.values())).shape
    assert np.ptp(found["relevance"][0]) > 0
