"""Checkpoints of every task of text, with the real encoder and tokenizer of all-MiniLM-L6-v2.

In: a folder. Out: a checkpoint for each task in it. The heads are random, and scaled so that answers differ: a head as
transformers makes it answers every text with nearly equal scores.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

sys.path.insert(0, str(Path(__file__).parents[1]))

import minilm

SCALE = 20.0  # of the random weights of a head
HEADS = ("classifier.weight", "qa_outputs.weight")


def named(*labels: str) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: place for place, label in enumerate(labels)}}


MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "single-label": ("BertForSequenceClassification", named("negative", "neutral", "positive")),
    "multi-label": (
        "BertForSequenceClassification",
        {**named("toxic", "spam", "question"), "problem_type": "multi_label_classification"},
    ),
    "regression": ("BertForSequenceClassification", {**named("score"), "problem_type": "regression"}),
    "relevance": ("BertForSequenceClassification", named("relevance")),
    "entailment": ("BertForSequenceClassification", named("contradiction", "entailment", "neutral")),
    "entities": ("BertForTokenClassification", named("O", "B-PER", "I-PER", "B-ORG", "I-ORG")),
    "answers": ("BertForQuestionAnswering", {}),
    "words": ("BertForMaskedLM", {}),
    "features": ("BertModel", {}),
}


def make(name: str, folder: Path) -> Path:
    """Writes the checkpoint of this name, and returns its folder."""
    architecture, settings = MODELS[name]
    torch.manual_seed(0)
    source, target = minilm.source(), folder / name
    kind = getattr(transformers, architecture)
    model: PreTrainedModel = kind.from_pretrained(source, config=AutoConfig.from_pretrained(source, **settings))
    with torch.no_grad():
        for weight_name, weight in model.named_parameters():
            if weight_name.endswith(HEADS):
                weight.mul_(SCALE)
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source).save_pretrained(target)
    return target
