"""The attentions of edgexf's own reference models."""

from edgexf_exporters.variant import Mixing, Variant

OWN = Mixing(("value",), "output", "heads")
VARIANTS = (
    Variant(
        name="transformer",
        attention="full softmax",
        lowers="edgexf.models.full:FullAttention",
        lowering="edgexf_exporters.lowerings.reference.full:Full",
        source="Vaswani et al. 2017",
        mixing=OWN,
        measured_error=9.2e-06,
    ),
    Variant(
        name="longformer",
        attention="sliding window, global first token",
        lowers="edgexf.models.windowed:WindowedAttention",
        lowering="edgexf_exporters.lowerings.reference.windowed:Windowed",
        source="Beltagy et al. 2020",
        mixing=Mixing(("value", "value_global"), "output", "heads"),
        measured_error=1.5e-05,
    ),
    Variant(
        name="reformer",
        attention="locality-sensitive hashing, shared query and key",
        lowers="edgexf.models.hashed:HashedAttention",
        lowering="edgexf_exporters.lowerings.reference.hashed:Hashed",
        source="Kitaev et al. 2020",
        mixing=OWN,
        measured_error=8.0e-06,
    ),
    Variant(
        name="linformer",
        attention="projected keys and values",
        lowers="edgexf.models.projected:ProjectedAttention",
        lowering="edgexf_exporters.lowerings.reference.projected:Projected",
        source="Wang et al. 2020",
        unweighted="its weights are over projected slots, each a mixture of all tokens",
        measured_error=1.9e-06,
    ),
)
