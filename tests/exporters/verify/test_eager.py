"""What the untouched model answers and explains, beside the same with less memory."""

from __future__ import annotations

import pytest
from families import small

from edgexf_exporters import hooks
from edgexf_exporters.sources.checkpoint import from_model
from edgexf_exporters.verify import eager
from edgexf_exporters.verify.grid import Cell


@pytest.mark.parametrize(
    ("family", "part"),
    [("ModernBert", "model.layers.1.attn.Wqkv"), ("Bert", "bert.encoder.layer.1.attention.self.query")],
)
def test_layers_that_run_again_explain_to_the_bit_what_layers_that_are_kept_do(
    family: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small(family, "ForSequenceClassification", 2)
    source, runs = from_model(model), list[str]()
    feeds = Cell(21, 2, "right", 1, "").feeds(source)
    model.get_submodule(part).register_forward_hook(lambda *_: runs.append(part))
    with hooks.frozen(model):
        kept = eager.eager(source, feeds, ("attnlrp", "gradient"))
        monkeypatch.setattr(hooks, "KEPT", 1)
        again = eager.eager(source, feeds, ("attnlrp", "gradient"))
    assert len(runs) == 2 + 4
    assert {name: value.tobytes() for name, value in kept.items()} == {
        name: value.tobytes() for name, value in again.items()
    }
    assert not any("forward" in vars(module) for module in model.modules())
