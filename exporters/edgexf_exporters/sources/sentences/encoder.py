"""A model of transformers with its pooling and the layers behind it, as one module.

In: the inputs of the model. Out: ``last_hidden_state`` [batch, sequence, width] and ``sentence_embedding`` [batch, dim].

    attention_mask   0 padding, 1 real, `PROMPT_MARK` (where a prompt is not pooled) real and not pooled
    model            sees 1 for both
    pooling          sees 1 alone

A prompt that is not pooled must tell the pooling from the model. A mark in ``attention_mask`` keeps the inputs that every
reader knows: one that writes 0 and 1 gets what the library gives without a prompt. Two alternatives were weighed. A second
mask as an input would have to be fed by every reader, also for a text without a prompt. A reader that pools
``last_hidden_state`` by itself would also need the layers behind the pooling, which an explanation would then not pass.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from edgexf import names
from edgexf_exporters.answers import named_outputs
from edgexf_exporters.sources.sentences.pooling import Pooling


class SentenceEncoder(nn.Module):
    """See the module's docstring. With `include_prompt`, every real token is pooled, and the mask goes on as it is."""

    def __init__(self, model: nn.Module, pooling: Pooling, layers: nn.Sequential, include_prompt: bool) -> None:
        super().__init__()
        self.model = model
        self.pooling = pooling
        self.layers = layers
        self.include_prompt = include_prompt

    def forward(self, **inputs: Any) -> dict[str, Tensor]:
        mask: Tensor = inputs[names.ATTENTION_MASK]
        real = pooled = mask > 0
        if not self.include_prompt:
            pooled = mask == 1
            inputs = {**inputs, names.ATTENTION_MASK: mask.clamp(max=1)}  # a lowered model has marks below 0 of its own
        hidden = named_outputs(self.model(**inputs))[names.LAST_HIDDEN_STATE]
        embedding: Tensor = self.layers(self.pooling(hidden, real, pooled))
        return {names.LAST_HIDDEN_STATE: hidden, names.SENTENCE_EMBEDDING: embedding}
