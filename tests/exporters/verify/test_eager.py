"""What the untouched model answers and explains, beside the same with less memory."""

from __future__ import annotations

import pytest
from families import small

from edgexf.bundle.golden import relative_difference
from edgexf_exporters import hooks
from edgexf_exporters.sources.checkpoint import from_model
from edgexf_exporters.verify import eager
from edgexf_exporters.verify.differences.rounding import Wide
from edgexf_exporters.verify.grid import Cell

METHODS = ("attnlrp", "gradient")
# A product of the keys of a cache, which are a copy, adds in another order: several roundings, of 6e-8 and of 1e-16.
FLOAT32, FLOAT64 = 1e-6, 1e-13


@pytest.mark.parametrize("head", ["ForSequenceClassification", "ForCausalLM"])
def test_layers_that_run_again_explain_what_layers_that_are_kept_do(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder by itself makes a cache, to which a layer that runs again would write again.

    The library turns queries and keys in float32, which the answers in float64 change in the second run of a layer too.
    """
    model = small("ModernBert" if head == "ForSequenceClassification" else "ModernBertDecoder", head, 2)
    runs = list[str]()
    model.model.layers[1].attn_norm.register_forward_hook(lambda *_: runs.append(head))
    with hooks.frozen(model):
        source = from_model(model)
        feeds = Cell(21, 2, "right", 1, "").feeds(source)
        wide = Wide(source, eager.eager)
        asks = (lambda: eager.eager(source, feeds, METHODS)), lambda: wide.answers(feeds, METHODS, ())
        for rounding, ask in zip((FLOAT32, FLOAT64), asks, strict=True):
            monkeypatch.setattr(hooks, "KEPT", 1 << 16)
            kept = ask()
            monkeypatch.setattr(hooks, "KEPT", 1)
            again = ask()
            for name in ("logits", "relevance", "relevance_gradient"):
                assert relative_difference(again[name], kept[name]) <= rounding
    assert len(runs) == 2 * (1 + 2) * len(
        METHODS
    )  # for each dtype once where layers are kept, twice where they run again
    assert not any("forward" in vars(module) for module in model.modules())


def test_layers_of_a_model_that_is_not_sliced_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer may write to its input or remember calls. Only models that edgexf slices are long enough to need the second run,
    and those are known to bear it.
    """
    model = small("Bert", "ForSequenceClassification", 2)
    runs = list[None]()
    model.bert.encoder.layer[1].attention.register_forward_hook(lambda *_: runs.append(None))
    monkeypatch.setattr(hooks, "KEPT", 1)
    with hooks.frozen(model):
        source = from_model(model)
        eager.eager(source, Cell(21, 2, "right", 1, "").feeds(source), METHODS)
    assert len(runs) == len(METHODS)
