"""Run-time methods on arrays: the effect of leaving out a token, for every head of modules that read no text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edgexf
from edgexf.errors import EdgexfError, InputError, UsageError
from edgexf_runtimes import Session, attribute

VOCABULARY, CLASSES, BASELINE = 30, 4, 0
ROUNDING = 1e-5  # float32 sums, relative to the scale
METHODS = ("occlusion", "lime", "kernel-shap")


class Bag(nn.Module):
    """Sums logits over tokens, so that the contribution of each token is known."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        return self.embed(ids).sum(dim=-2)


class Choose(Bag):
    """Takes ids [samples, choices, tokens]."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids).tanh().sum(dim=-1)


class Tag(Bag):
    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.embed(ids) * attention_mask.unsqueeze(-1)
        return hidden.cumsum(dim=1).tanh()


class Sum(Bag):
    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        return (self.embed(ids) * attention_mask.unsqueeze(-1)).sum(dim=1)


class Ends(Bag):
    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        found = self.embed(ids).cumsum(dim=1).tanh()
        return {"start_logits": found[..., 0], "end_logits": found[..., 1]}


class Vectors(Bag):
    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        return {"last_hidden_state": self.embed(ids).cumsum(dim=1).tanh()}


def opened(kind: type[nn.Module], examples: Any, folder: Path) -> tuple[nn.Module, Session]:
    torch.manual_seed(0)
    module = kind().eval()
    return module, edgexf.load(edgexf.export(module, example_inputs=examples, output=folder / "out", explain=()).path)


def ids(*shape: int) -> Tensor:
    return torch.randint(1, VOCABULARY, shape, generator=torch.Generator().manual_seed(1))


def left_out(value: Callable[[Tensor], Tensor], given: Tensor) -> np.ndarray:
    """Returns the contribution of each token, computed with the module, one sample after the other."""
    found = np.zeros(given.shape, dtype=np.float64)
    with torch.no_grad():
        whole = value(given)
        for place in np.ndindex(given.shape):
            other = given.clone()
            other[place] = BASELINE
            found[place] = (whole - value(other))[place[0]]
    return found


def close(found: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.abs(found - wanted).max() <= ROUNDING * max(np.abs(wanted).max(), 1))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bag, Session]]:
    module, session = opened(Bag, ids(2, 9), tmp_path_factory.mktemp("bag"))
    assert isinstance(module, Bag)
    with session:
        yield module, session


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_what_the_tokens_of_a_sum_are_worth(bag: tuple[Bag, Session], method: str) -> None:
    """The methods run all coalitions of seven tokens. LIME is exact except for its ridge penalty."""
    module, session = bag
    given, target = ids(2, 7), np.array([[0, 1, 0, -1], [0, 0, 0, 0]], dtype=np.float32)
    with torch.no_grad():
        best = module(given)[1].argmax()
        weights = torch.tensor([[0.0, 1, 0, -1], np.eye(CLASSES)[best].tolist()])
        worth = ((module.embed(given) - module.embed.weight[BASELINE]) * weights[:, None]).sum(-1).numpy()
        values = (module(given) * weights).sum(-1).numpy()
    found = attribute(session, method, {"ids": given.numpy()}, {"target": target}, baseline=BASELINE)
    assert np.abs(found["relevance"] - worth).max() <= (0.1 if method == "lime" else ROUNDING) * np.abs(worth).max()
    assert close(found["relevance"].sum(axis=1) + found["residual"], values)
    assert set(found) == {"logits", "relevance", "residual"}


def test_a_choice_is_explained_among_the_others(tmp_path: Path) -> None:
    module, session = opened(Choose, ids(2, 3, 8), tmp_path)
    given = ids(2, 3, 5)
    with session:
        found = attribute(session, "occlusion", {"ids": given.numpy()}, baseline=BASELINE)
        second = attribute(
            session, "occlusion", {"ids": given.numpy()}, {"target": np.eye(3)[[1, 1]]}, baseline=BASELINE
        )
    best = module(given).argmax(-1)
    assert close(found["relevance"], left_out(lambda other: module(other)[torch.arange(2), best], given))
    assert close(second["relevance"], left_out(lambda other: module(other)[:, 1], given))
    assert not second["relevance"][:, 0].any()


def test_a_token_is_explained_at_its_position_and_padding_is_nothing(tmp_path: Path) -> None:
    examples = {"ids": ids(2, 8), "attention_mask": torch.ones(2, 8, dtype=torch.int64)}
    module, session = opened(Tag, examples, tmp_path)
    given, mask = ids(2, 6), torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0]])
    arrays = {"ids": given.numpy(), "attention_mask": mask.numpy()}
    with session:
        found = attribute(
            session, "occlusion", arrays, {"position": [4, 2], "target": np.eye(4)[[3, 1]]}, baseline=BASELINE
        )
        with pytest.raises(UsageError, match="position"):
            attribute(session, "occlusion", arrays, baseline=BASELINE)
        with pytest.raises(InputError, match="position"):
            attribute(session, "occlusion", arrays, {"position": [4, 5]}, baseline=BASELINE)

    def value(other: Tensor) -> Tensor:
        logits = module(other, mask)
        return torch.stack([logits[0, 4, 3], logits[1, 2, 1]])

    assert close(found["relevance"], left_out(value, given))
    assert not found["relevance"][:, 5].any()  # a token behind both positions, and padding


def test_a_sample_that_is_padding_alone_is_named(tmp_path: Path) -> None:
    given = {"ids": ids(2, 8), "attention_mask": torch.ones(2, 8, dtype=torch.int64)}
    _, session = opened(Sum, given, tmp_path)
    arrays = {"ids": given["ids"].numpy(), "attention_mask": np.array([[1] * 8, [0] * 8])}
    with session:
        for method in METHODS:
            with pytest.raises(InputError, match="a mask that shows none"):
                attribute(session, method, arrays, baseline=BASELINE)


def test_an_answer_is_explained_by_its_ends(tmp_path: Path) -> None:
    module, session = opened(Ends, ids(2, 8), tmp_path)
    given = ids(2, 6)
    start = np.zeros((2, 6), dtype=np.float32)
    start[0, 2] = 1
    with session:
        found = attribute(session, "occlusion", {"ids": given.numpy()}, {"target_start": start}, baseline=BASELINE)
    best = {name: logits.argmax(-1) for name, logits in module(given).items()}

    def value(other: Tensor) -> Tensor:
        logits = module(other)
        both = logits["start_logits"][1, best["start_logits"][1]] + logits["end_logits"][1, best["end_logits"][1]]
        return torch.stack([logits["start_logits"][0, 2], both])

    assert close(found["relevance"], left_out(value, given))


def test_a_vector_is_explained_by_what_it_is_similar_to(tmp_path: Path) -> None:
    module, session = opened(Vectors, ids(2, 8), tmp_path)
    given = ids(2, 6)
    direction = torch.tensor([[1.0, -2, 0.5, 0], [0, 0, 0, 0]])
    with session:
        found = attribute(
            session, "occlusion", {"ids": given.numpy()}, {"target": direction.numpy()}, baseline=BASELINE
        )
    own = module(given)["last_hidden_state"].mean(dim=1).detach()

    def value(other: Tensor) -> Tensor:
        vector = module(other)["last_hidden_state"].mean(dim=1)
        asked = torch.cosine_similarity(vector[0], direction[0], dim=0)
        return torch.stack([asked, vector[1] @ own[1] / own[1].norm() ** 2])

    assert close(found["relevance"], left_out(value, given))


def test_wrong_choices_are_named(bag: tuple[Bag, Session]) -> None:
    _, session = bag
    given = {"ids": ids(1, 5).numpy()}
    wrong: list[tuple[Any, ...]] = [
        ("gradient", {}, {"baseline": BASELINE}, "occlusion, lime, kernel-shap"),
        ("occlusion", {}, {}, "baseline"),
        ("occlusion", {}, {"baseline": VOCABULARY}, "baseline"),
        ("occlusion", {"position": [0]}, {"baseline": BASELINE}, "position"),
        ("occlusion", {"target": np.zeros((2, CLASSES))}, {"baseline": BASELINE}, "target"),
        ("lime", {}, {"baseline": BASELINE, "span": 2}, "span"),
    ]
    for method, targets, options, word in wrong:
        with pytest.raises(EdgexfError, match=word):
            attribute(session, method, given, targets, **options)
