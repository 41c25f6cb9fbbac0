"""The padding rule of custom modules: `invariant` only where padding behind a row changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from modules import exports
from torch import Tensor, nn

import edgexf
from edgexf.errors import VerificationError
from edgexf_exporters.sources.modules import module as modules_module
from edgexf_exporters.sources.modules.module import from_module

WORDS, WIDTH = 40, 16
Body = Callable[["Encoder", Tensor, Tensor], Tensor]


class Encoder(nn.Module):
    """Ids and their mask, for at most so many tokens as `places`; `body` makes the output from the hidden states of one attention."""

    def __init__(self, body: Body, leak: float = float("-inf"), places: int = 300) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.words, self.places, self.head = (
            nn.Embedding(WORDS, WIDTH),
            nn.Embedding(places, WIDTH),
            nn.Linear(WIDTH, 3),
        )
        self.body, self.leak = body, leak

    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        found = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        scores = found @ found.transpose(1, 2) / WIDTH + torch.where(mask[:, None] > 0, 0.0, self.leak)
        mixed: Tensor = scores.softmax(-1) @ found
        return mixed

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.body(self, ids, attention_mask)


def mean(self: Encoder, ids: Tensor, mask: Tensor) -> Tensor:
    kept = mask[..., None].float()
    answer: Tensor = self.head((self.hidden(ids, mask) * kept).sum(1) / kept.sum(1))
    return answer


def first(self: Encoder, ids: Tensor, mask: Tensor) -> Tensor:
    answer: Tensor = self.head(self.hidden(ids, mask)[:, 0])
    return answer


def each(self: Encoder, ids: Tensor, mask: Tensor) -> Tensor:
    answer: Tensor = self.head(self.hidden(ids, mask))
    return answer


def mean_of_all(self: Encoder, ids: Tensor, mask: Tensor) -> Tensor:
    answer: Tensor = self.head(self.hidden(ids, mask).mean(1))
    return answer


def without_mask(self: Encoder, ids: Tensor, mask: Tensor) -> Tensor:
    return first(self, ids, torch.ones_like(mask)) + 0 * mask[:, :1]


def pairs(self: Encoder, ids: Tensor, mask: Tensor) -> Tensor:
    found = self.hidden(ids, mask)
    return found @ found.transpose(1, 2)


def last_place(self: Encoder, ids: Tensor, mask: Tensor) -> Tensor:
    return first(self, ids, mask) + ids[:, -1:] * 1e-3


def knows_a_word(self: Encoder, ids: Tensor, mask: Tensor) -> Tensor:
    """One id of many speaks through the mask."""
    return first(self, ids, mask) + (ids == WORDS - 1).sum(1, keepdim=True)


def counts_places(self: Encoder, ids: Tensor, mask: Tensor) -> Tensor:
    return first(self, ids, mask) * (1 + ids.shape[1] / 100)


def examples(marked: int = 1) -> dict[str, Tensor]:
    ids = torch.arange(24).reshape(2, 12)
    return {"ids": ids, "attention_mask": torch.full_like(ids, marked)}


@pytest.mark.parametrize("body", [mean, first, each])
def test_rows_share_a_batch_where_the_mask_hides_padding(body: Body) -> None:
    assert from_module(Encoder(body), examples()).limits.padding == "invariant"


@pytest.mark.parametrize(
    "body", [mean_of_all, without_mask, pairs, last_place, knows_a_word, counts_places], ids=lambda body: body.__name__
)
def test_rows_share_no_batch_where_padding_speaks(body: Body) -> None:
    assert from_module(Encoder(body), examples()).limits.padding == "none"


def test_a_mask_that_leaks_is_found_at_the_longest_padding() -> None:
    """A score of -16 lets 1e-7 of each token through: too little at 195 tokens of padding, too much at 4,000."""
    assert from_module(Encoder(mean, leak=-16.0, places=197), examples()).limits.padding == "invariant"
    assert from_module(Encoder(mean, leak=-16.0, places=4000), examples()).limits.padding == "none"


class Upside(Encoder):
    """The mask of torch.nn is true at padding."""

    def forward(self, ids: Tensor, key_padding_mask: Tensor) -> Tensor:  # type: ignore[override]
        return self.body(self, ids, 1 - key_padding_mask.long())


class Alone(Encoder):
    def forward(self, ids: Tensor) -> Tensor:  # type: ignore[override]
        return self.body(self, ids, torch.ones_like(ids))


def test_a_mask_that_marks_padding_counts_and_none_does_not() -> None:
    ids = examples()["ids"]
    upside = {"ids": ids, "key_padding_mask": torch.zeros_like(ids).bool()}
    assert from_module(Upside(mean), upside).limits.padding == "invariant"
    assert from_module(Alone(first), {"ids": ids}).limits.padding == "none"
    words = {0: torch.export.Dim("rows"), 1: torch.export.Dim("words", max=50)}
    named = dict.fromkeys(examples(), words)  # the runtime finds the real tokens of outputs by the usual name alone
    assert from_module(Encoder(first), examples(), named).limits.padding == "none"


@pytest.mark.slow
def test_a_padded_batch_is_verified_and_the_manifest_says_so(tmp_path: Path) -> None:
    module = Encoder(each)
    manifest = exports(module, examples(), tmp_path, max_length=70)
    assert manifest.limits.padding == "invariant"
    assert manifest.grid["checks"]["padding behind a row changes no answer"] == ""
    assert "rows of any lengths may run together" in (tmp_path / "bundle" / "README.md").read_text()
    rows = [np.arange(length)[None] % WORDS for length in (3, 40, 66)]
    ids = np.concatenate([np.pad(row, ((0, 0), (0, 66 - row.shape[1])), constant_values=7) for row in rows])
    mask = (np.arange(66) < np.array([3, 40, 66])[:, None]).astype(np.int64)
    with edgexf.load(tmp_path / "bundle") as session:
        together = session.run(ids=ids, attention_mask=mask)["logits"]
        for place, row in enumerate(rows):
            alone = session.run(ids=row, attention_mask=np.ones_like(row))["logits"][0]
            moved = np.abs(together[place, : row.shape[1]] - alone).max()
            assert moved <= 1e-5 * np.abs(alone).max()  # the bound of the rule


@pytest.mark.slow
def test_a_graph_that_padding_changes_is_refused_where_the_rule_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules_module, "rule_of", lambda *_: "invariant")
    with pytest.raises(VerificationError, match="padding behind a row changes no answer: logits changes where rows of"):
        exports(Encoder(mean_of_all), examples(), tmp_path, max_length=70)
