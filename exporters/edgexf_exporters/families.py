"""The kinds of families of transformers, as data, so that the command line prints them without torch.

    lowered             `VARIANTS` of `edgexf_exporters`: edgexf replaces the attention, so that it traces, or traces better
    tested as it is     `TESTED`: traced as it is; tests/benchmarks/census.py exports a model of the family
    general             any other family of transformers: the grid decides at each export

A record of `TESTED` is one line. Nothing depends on it but what is shown, and the name in a manifest: an export takes the
same way with it and without.
"""

from __future__ import annotations

from dataclasses import dataclass

LOWERED, AS_IT_IS, GENERAL = "lowered by edgexf", "tested as it is", "general"
TOLERANCE = 1e-4
# What `--task` takes besides the tasks of the lowered families.
IMAGE_TASKS = (
    "depth-estimation",
    "image-classification",
    "object-detection",
    "semantic-segmentation",
    "zero-shot-image-classification",
)


@dataclass(frozen=True)
class TracedFamily:
    """A family that is traced as it is.

    Attributes:
        model_type: the model_type of its config.
        architecture: the class that the census exports.
        measured_error: the largest relative difference that tests/benchmarks/census.py measured.
    """

    model_type: str
    architecture: str
    measured_error: float

    @property
    def name(self) -> str:
        return f"hf-{self.model_type}"


TESTED: tuple[TracedFamily, ...] = (
    TracedFamily("albert", "AlbertForSequenceClassification", 2.8e-07),
    TracedFamily("bart", "BartForSequenceClassification", 4.3e-07),
    TracedFamily("beit", "BeitForImageClassification", 9.8e-07),
    TracedFamily("biogpt", "BioGptForSequenceClassification", 6.4e-07),
    TracedFamily("bloom", "BloomForSequenceClassification", 5.3e-07),
    TracedFamily("clip", "CLIPForImageClassification", 2.6e-06),
    TracedFamily("codegen", "CodeGenForCausalLM", 4.2e-07),
    TracedFamily("cohere", "CohereForCausalLM", 2.8e-07),
    TracedFamily("convnext", "ConvNextForImageClassification", 2.4e-06),
    TracedFamily("convnextv2", "ConvNextV2ForImageClassification", 1.6e-06),
    TracedFamily("deberta", "DebertaForSequenceClassification", 5.4e-07),
    TracedFamily("deberta-v2", "DebertaV2ForSequenceClassification", 1.9e-07),
    TracedFamily("deit", "DeiTForImageClassification", 3.8e-07),
    TracedFamily("dinov2", "Dinov2ForImageClassification", 1.7e-06),
    TracedFamily("efficientnet", "EfficientNetForImageClassification", 1.7e-07),
    TracedFamily("electra", "ElectraForSequenceClassification", 2.4e-07),
    TracedFamily("ernie", "ErnieForSequenceClassification", 1.5e-06),
    TracedFamily("eurobert", "EuroBertForSequenceClassification", 2.5e-07),
    TracedFamily("falcon", "FalconForSequenceClassification", 2.1e-06),
    TracedFamily("flaubert", "FlaubertForSequenceClassification", 5.6e-07),
    TracedFamily("gemma", "GemmaForSequenceClassification", 2.1e-07),
    TracedFamily("gemma2", "Gemma2ForSequenceClassification", 8.6e-07),
    TracedFamily("gemma3_text", "Gemma3TextForSequenceClassification", 6.1e-07),
    TracedFamily("gpt2", "GPT2ForSequenceClassification", 1.2e-06),
    TracedFamily("gpt_neox", "GPTNeoXForSequenceClassification", 3.9e-07),
    TracedFamily("gptj", "GPTJForSequenceClassification", 1.8e-06),
    TracedFamily("granite", "GraniteForCausalLM", 3.9e-07),
    TracedFamily("gte", "GteForSequenceClassification", 2.9e-06),
    TracedFamily("jina_embeddings_v3", "JinaEmbeddingsV3ForSequenceClassification", 8.9e-07),
    TracedFamily("layoutlm", "LayoutLMForSequenceClassification", 4.7e-07),
    TracedFamily("levit", "LevitForImageClassification", 9.2e-07),
    TracedFamily("lilt", "LiltForSequenceClassification", 1.6e-06),
    TracedFamily("llama", "LlamaForSequenceClassification", 6.9e-07),
    TracedFamily("luke", "LukeForSequenceClassification", 2.8e-07),
    TracedFamily("m2m_100", "M2M100ForConditionalGeneration", 3.6e-07),
    TracedFamily("marian", "MarianForCausalLM", 2.8e-07),
    TracedFamily("markuplm", "MarkupLMForSequenceClassification", 5.8e-07),
    TracedFamily("mbart", "MBartForSequenceClassification", 5.9e-07),
    TracedFamily("megatron-bert", "MegatronBertForSequenceClassification", 5.7e-07),
    TracedFamily("mistral", "MistralForSequenceClassification", 2.5e-06),
    TracedFamily("mixtral", "MixtralForSequenceClassification", 6.8e-07),
    TracedFamily("mobilebert", "MobileBertForSequenceClassification", 1.0e-07),
    TracedFamily("mobilenet_v2", "MobileNetV2ForImageClassification", 2.4e-07),
    TracedFamily("mt5", "MT5ForSequenceClassification", 3.0e-06),
    TracedFamily("nomic_bert", "NomicBertForSequenceClassification", 7.8e-07),
    TracedFamily("olmo2", "Olmo2ForSequenceClassification", 9.7e-07),
    TracedFamily("opt", "OPTForSequenceClassification", 4.1e-07),
    TracedFamily("pegasus", "PegasusForCausalLM", 3.1e-07),
    TracedFamily("perceiver", "PerceiverForSequenceClassification", 8.5e-08),
    TracedFamily("phi", "PhiForSequenceClassification", 4.1e-07),
    TracedFamily("phi3", "Phi3ForSequenceClassification", 9.8e-07),
    TracedFamily("plbart", "PLBartForSequenceClassification", 3.7e-07),
    TracedFamily("prophetnet", "ProphetNetForCausalLM", 3.5e-07),
    TracedFamily("qwen2", "Qwen2ForSequenceClassification", 5.7e-07),
    TracedFamily("qwen3", "Qwen3ForSequenceClassification", 4.5e-07),
    TracedFamily("regnet", "RegNetForImageClassification", 3.8e-07),
    TracedFamily("rembert", "RemBertForSequenceClassification", 1.4e-06),
    TracedFamily("resnet", "ResNetForImageClassification", 3.3e-07),
    TracedFamily("roformer", "RoFormerForSequenceClassification", 4.3e-07),
    TracedFamily("segformer", "SegformerForImageClassification", 1.5e-06),
    TracedFamily("siglip", "SiglipForImageClassification", 1.4e-06),
    TracedFamily("smollm3", "SmolLM3ForSequenceClassification", 5.9e-07),
    TracedFamily("splinter", "SplinterModel", 3.1e-07),
    TracedFamily("squeezebert", "SqueezeBertForSequenceClassification", 9.6e-07),
    TracedFamily("starcoder2", "Starcoder2ForSequenceClassification", 2.3e-07),
    TracedFamily("t5", "T5ForSequenceClassification", 2.4e-06),
    TracedFamily("vit", "ViTForImageClassification", 4.1e-07),
    TracedFamily("videomae", "VideoMAEModel", 1.6e-06),
    TracedFamily("xlm", "XLMForSequenceClassification", 5.6e-07),
    TracedFamily("xlnet", "XLNetForSequenceClassification", 9.0e-07),
)


def tested(model_type: str) -> TracedFamily | None:
    """The record of a family; None for a family that was not tested."""
    return next((one for one in TESTED if one.model_type == model_type), None)
