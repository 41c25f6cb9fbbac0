"""Exporters: a PyTorch model goes in, verified ONNX graphs come out.

`VARIANTS` is the one list of attentions that can be lowered. It holds plain data, so that the
command line can print it without torch; see README.md beside this folder for adding to it.
"""

import edgexf.errors  # noqa: F401 (first: loading edgexf switches the telemetry of onnxruntime off)
from edgexf_exporters.variant import Variant

ENCODER_HEADS = (
    "feature-extraction",
    "text-classification",
    "token-classification",
    "question-answering",
    "fill-mask",
)
VARIANTS = (
    Variant(
        name="transformer",
        attention="full softmax",
        lowers="edgexf.models.full:FullAttention",
        lowering="edgexf_exporters.full:Full",
        source="Vaswani et al. 2017",
        subquadratic=False,
        reached=9.2e-06,
    ),
    Variant(
        name="longformer",
        attention="sliding window, global first token",
        lowers="edgexf.models.windowed:WindowedAttention",
        lowering="edgexf_exporters.windowed:Windowed",
        source="Beltagy et al. 2020",
        reached=1.5e-05,
    ),
    Variant(
        name="reformer",
        attention="locality-sensitive hashing, shared query and key",
        lowers="edgexf.models.hashed:HashedAttention",
        lowering="edgexf_exporters.hashed:Hashed",
        source="Kitaev et al. 2020",
        reached=8.0e-06,
    ),
    Variant(
        name="linformer",
        attention="projected keys and values",
        lowers="edgexf.models.projected:ProjectedAttention",
        lowering="edgexf_exporters.projected:Projected",
        source="Wang et al. 2020",
        reached=1.9e-06,
    ),
    Variant(
        name="hf-longformer",
        attention="sliding window, global tokens anywhere",
        lowers="transformers.models.longformer.modeling_longformer:LongformerModel",
        lowering="edgexf_exporters.longformer:Longformer",
        source="Beltagy et al. 2020",
        family="transformers",
        heads=(*ENCODER_HEADS, "multiple-choice"),
        limits="the position embeddings; --max-global tokens",
        globals=True,
        describe="edgexf_exporters.longformer:describe",
        sometimes=("token_type_ids",),
        reached=6.7e-05,
    ),
    Variant(
        name="hf-led",
        attention="sliding window, global tokens anywhere; full attention in the decoder",
        lowers="transformers.models.led.modeling_led:LEDEncoder",
        lowering="edgexf_exporters.led:Encoder",
        source="Beltagy et al. 2020, section 7",
        family="transformers",
        heads=("feature-extraction", "text2text-generation", "question-answering"),
        limits="the position embeddings; --max-global tokens",
        globals=True,
        describe="edgexf_exporters.led:describe",
        sometimes=("decoder_input_ids",),
        reached=1.8e-06,
    ),
    Variant(
        name="hf-bigbird",
        attention="neighbours, first and last block; full attention for short inputs",
        lowers="transformers.models.big_bird.modeling_big_bird:BigBirdModel",
        lowering="edgexf_exporters.bigbird:BigBird",
        source="Zaheer et al. 2020",
        padding="to_multiple(block)",
        family="transformers",
        heads=(*ENCODER_HEADS, "multiple-choice"),
        limits="the position embeddings",
        describe="edgexf_exporters.bigbird:describe",
        sometimes=("token_type_ids",),
        reached=6.1e-06,
    ),
    Variant(
        name="hf-reformer",
        attention="locality-sensitive hashing and local chunks; full attention for short inputs",
        lowers="transformers.models.reformer.modeling_reformer:ReformerModel",
        lowering="edgexf_exporters.reformer:Reformer",
        source="Kitaev et al. 2020",
        padding="to_multiple(chunk)",
        family="transformers",
        heads=("feature-extraction", "text-classification", "question-answering", "fill-mask", "text-generation"),
        limits="the position embeddings",
        describe="edgexf_exporters.reformer:describe",
        reached=3.0e-06,
    ),
)
