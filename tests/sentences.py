"""Small checkpoints of sentence-transformers with random weights, saved by the library itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "dog",
    "ran",
    "to",
    "find",
    "me",
    "it",
    "query",
    ":",
    "passage",
    "and",
    "then",
    "slept",
    "in",
    "sun",
    "of",
    "tall",
    "green",
    "hill",
]
PAD = "[PAD]"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TEXTS = (
    "the cat sat on a mat",
    "a dog ran to the tall green hill and then slept in the sun",
    "find me",
    "it",
    "a mat of green sun : the dog sat in it",
)
PROMPTS = {"query": "query : ", "passage": "passage : find me "}
LONGEST = 24
WIDTH = 32


def tokenizer(padding_id: int = 0, longest: int = LONGEST) -> PreTrainedTokenizerFast:
    """Words, with a class token before and a separator behind them; ids are below 50."""
    ordered = [one for one in SPECIAL if one != PAD]
    ordered.insert(padding_id, PAD)
    backend = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate((*ordered, *WORDS))}, unk_token=SPECIAL[1])
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(SPECIAL[2], ordered.index(SPECIAL[2])), (SPECIAL[3], ordered.index(SPECIAL[3]))]
    backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ends)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=longest, **names)


def bert(layers: int = 1) -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS), hidden_size=WIDTH, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=LONGEST,
    )  # fmt: skip
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def save(
    folder: Path, modes: Sequence[str] = ("mean",), layers: Sequence[Any] = (), model: Any = None, **settings: Any
) -> Path:
    """Saves a checkpoint of sentence-transformers in `folder`, and returns the folder.

    `layers` are modules of the library that stand behind the pooling. `settings` are ``include_prompt`` and ``longest``, in
    tokens, and arguments of `SentenceTransformer`.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    base = folder.with_name(f"{folder.name}-base")
    model = bert() if model is None else model
    model.save_pretrained(base)
    tokenizer(model.config.pad_token_id or 0, settings.pop("longest", LONGEST)).save_pretrained(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pooling = Pooling(model.config.hidden_size, tuple(modes), include_prompt=settings.pop("include_prompt", True))
        whole = SentenceTransformer(modules=[Transformer(str(base)), pooling, *layers], device="cpu", **settings)
        whole.save(str(folder), create_model_card=False)
    return folder


def library(folder: Path) -> Any:
    """The checkpoint as sentence-transformers loads it."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def in_old_layout(folder: Path, target: Path, changes: Mapping[str, str]) -> Path:
    """A copy as versions 1 and 2 saved it: the model in ``0_Transformer``, old type names, and flags for pooling modes."""
    import json
    import shutil

    shutil.copytree(folder, target)
    below = target / "0_Transformer"
    below.mkdir()
    for path in list(target.iterdir()):
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json", "README.md"):
            path.rename(below / path.name)
    modules = json.loads((target / "modules.json").read_text())
    for module in modules:
        module["type"] = f"sentence_transformers.models.{module['type'].rpartition('.')[2]}"
    modules[0]["path"] = "0_Transformer"
    (target / "modules.json").write_text(json.dumps(modules))
    path = target / "1_Pooling" / "config.json"
    new = json.loads(path.read_text())
    modes = [new["pooling_mode"]] if isinstance(new["pooling_mode"], str) else new["pooling_mode"]
    flags = {flag: mode in modes for flag, mode in changes.items()}
    path.write_text(json.dumps({"word_embedding_dimension": new["embedding_dimension"], **flags}))
    return target
