"""What the untouched model answers and explains, beside the same with less memory."""

from __future__ import annotations

import pytest
from families import small

from edgexf.bundle.golden import relative_difference
from edgexf_exporters import hooks
from edgexf_exporters.sources.checkpoint import from_model
from edgexf_exporters.verify import eager
from edgexf_exporters.verify.grid import Cell

ROUNDING = 1e-6  # a product of the keys of a cache, which are a copy, adds in another order: several roundings of 6e-8


@pytest.mark.parametrize("head", ["ForSequenceClassification", "ForCausalLM"])
def test_layers_that_run_again_explain_what_layers_that_are_kept_do(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder by itself makes a cache, to which a layer that runs again would write again."""
    model = small("ModernBert" if head == "ForSequenceClassification" else "ModernBertDecoder", head, 2)
    source, runs = from_model(model), list[str]()
    feeds = Cell(21, 2, "right", 1, "").feeds(source)
    model.model.layers[1].attn_norm.register_forward_hook(lambda *_: runs.append(head))
    with hooks.frozen(model):
        kept = eager.eager(source, feeds, ("attnlrp", "gradient"))
        monkeypatch.setattr(hooks, "KEPT", 1)
        again = eager.eager(source, feeds, ("attnlrp", "gradient"))
    assert len(runs) == 2 + 4
    for name in ("logits", "relevance", "relevance_gradient"):
        assert relative_difference(again[name], kept[name]) <= ROUNDING
    assert not any("forward" in vars(module) for module in model.modules())
