"""Exporters: a PyTorch model goes in, verified ONNX graphs come out.

`VARIANTS` is the one list of attentions that can be lowered. It holds plain data, so that the
command line can print it without torch; see README.md beside this folder for adding to it.
"""

import edgexf.errors  # noqa: F401 (first: loading edgexf switches the telemetry of onnxruntime off)
from edgexf_exporters.variant import Variant

VARIANTS = (
    Variant(
        name="transformer",
        attention="full softmax",
        lowers="edgexf.models.full:FullAttention",
        lowering="edgexf_exporters.full:Full",
        source="Vaswani et al. 2017",
        subquadratic=False,
    ),
    Variant(
        name="longformer",
        attention="sliding window, global first token",
        lowers="edgexf.models.windowed:WindowedAttention",
        lowering="edgexf_exporters.windowed:Windowed",
        source="Beltagy et al. 2020",
    ),
    Variant(
        name="reformer",
        attention="locality-sensitive hashing, shared query and key",
        lowers="edgexf.models.hashed:HashedAttention",
        lowering="edgexf_exporters.hashed:Hashed",
        source="Kitaev et al. 2020",
    ),
    Variant(
        name="linformer",
        attention="projected keys and values",
        lowers="edgexf.models.projected:ProjectedAttention",
        lowering="edgexf_exporters.projected:Projected",
        source="Wang et al. 2020",
    ),
    Variant(
        name="hf-longformer",
        attention="sliding window, global tokens anywhere",
        lowers="transformers.models.longformer.modeling_longformer:LongformerModel",
        lowering="edgexf_exporters.longformer:Longformer",
        source="Beltagy et al. 2020",
        family="transformers",
        heads=("feature-extraction", "text-classification", "token-classification", "question-answering", "fill-mask"),
        limits="the position embeddings; --max-global tokens",
        globals=True,
    ),
)
