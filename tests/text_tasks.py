"""Small models of every task of text, with a real tokenizer of English.

The encoder is a BERT of one layer, or a BART of one. Tests that compare with transformers' pipelines share its bundles.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import minilm
import torch
import transformers
from sentence_transformers import CrossEncoder
from torch import nn
from transformers import AutoTokenizer, BartConfig, BertConfig, PreTrainedConfig

import edgexf

LONGEST = 64  # tokens
ENTAILMENT = {0: "contradiction", 1: "entailment", 2: "neutral"}
TAGS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-ORG", 4: "I-ORG"}
HEADS: dict[str, tuple[str, dict[int, str]]] = {
    "labels": ("BertForSequenceClassification", ENTAILMENT),
    "bart": ("BartForSequenceClassification", ENTAILMENT),
    "score": ("BertForSequenceClassification", {0: "relevance"}),
    "entities": ("BertForTokenClassification", TAGS),
    "answers": ("BertForQuestionAnswering", {}),
    "words": ("BertForMaskedLM", {}),
}


def bert(tokenizer: Any, named: dict[str, Any]) -> PreTrainedConfig:
    return BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=LONGEST, **named,
    )  # fmt: skip


def bart(tokenizer: Any, named: dict[str, Any]) -> PreTrainedConfig:
    """Its decoder reads the text again, shifted by one token; the last separator answers."""
    end = tokenizer.sep_token_id
    return BartConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=LONGEST,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.cls_token_id, eos_token_id=end,
        decoder_start_token_id=end, forced_eos_token_id=end, **named,
    )  # fmt: skip


def make(name: str, folder: Path) -> Path:
    """Writes the checkpoint of a head, and returns its folder. Its weights are large, so that answers differ."""
    architecture, labels = HEADS[name]
    tokenizer = AutoTokenizer.from_pretrained(minilm.source(), model_max_length=LONGEST)
    both = {"id2label": labels, "label2id": {label: place for place, label in labels.items()}}
    named: dict[str, Any] = both if labels else {}
    config = (bart if name == "bart" else bert)(tokenizer, named)
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / name)
    if name == "score":
        settings = {"activation_fn": nn.Identity(), "prompts": {"asked": "query: "}, "default_prompt_name": "asked"}
        CrossEncoder(str(folder / name), **settings).save_pretrained(str(folder / name))
    return folder / name


def export(name: str, folder: Path, path: Path) -> None:
    """Exports the checkpoint of a head to `path`, with an explanation where one is asked for."""
    edgexf.export(make(name, folder), output=path, explain=("gradient",) if name in ("entities", "answers") else ())
