"""Writes bundles that stay in the repository, and the outputs that they gave when they were written.

    python make.py FOLDER NAME...

Run the script with `tests` on PYTHONPATH. Weights are random and small, because the bundles keep the format and not a
model. For each bundle NAME, `NAME.npz` holds the inputs of two runs and the outputs of `run` and `run_explain`,
and `NAME.json` holds the results of `predict` and `explain` for a text.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from families import small
from modules import small as small_module
from small import small_encoder
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import edgexf

TEXT = "the cat sat on the mat and saw a dog"


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: place for place, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *sorted(set(TEXT.split()))])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def made(name: str, out: Path) -> None:
    if name in ("transformer", "longformer", "reformer", "linformer"):
        edgexf.export(small_encoder(name, layers=1), output=out, explain=("attnlrp", "gradient"))
    elif name == "features":
        edgexf.export(small("Bert", "Model"), tokenizer=tokenizer(), output=out)
    elif name == "tokens":
        edgexf.export(small("Longformer", "ForTokenClassification"), tokenizer=tokenizer(), max_global=2, output=out)
    elif name == "answers":
        edgexf.export(small("Bert", "ForQuestionAnswering"), output=out)
    elif name == "choices":
        edgexf.export(small("Bert", "ForMultipleChoice"), output=out)
    elif name == "decoder":
        edgexf.export(small("LED", "Model"), output=out, explain=())
    elif name == "module":
        module, examples = small_module("[sequence, batch]")
        edgexf.export(module, example_inputs=examples, output=out)
    if name == "linformer":
        edgexf.quantize(out, mode="int8", force=True, lengths=(32,))


def answered(path: Path) -> None:
    """Writes the outputs of a bundle to the files beside it."""
    stored: dict[str, np.ndarray] = {}
    said: dict[str, object] = {}
    manifest = edgexf.load(path, dtype="fp32").whole
    dtypes = list(dict.fromkeys(graph.dtype for graph in manifest.variants))
    golden = np.load(path / "golden.npz")
    cells = sorted({key.partition("/")[0] for key in golden.files})
    print(path.name, dtypes, cells[:3], len(cells))
    rng = np.random.default_rng(0)
    for dtype in dtypes:
        with edgexf.load(path, dtype=dtype) as session:
            for row, (batch, length) in enumerate(((1, 7), (2, 21))):
                feeds = {}
                for tensor in manifest.variants[0].inputs:
                    sizes = {"batch": batch, "sequence": length, "choices": 2, "decoder_sequence": 5}
                    shape = [size if isinstance(size, int) else sizes.get(size, batch if size == manifest.samples else length) for size in tensor.shape]
                    if tensor.name.endswith("mask") and tensor.name != "global_attention_mask":
                        array = np.ones(shape, np.int64)
                        if batch > 1:
                            array[-1, ..., -3:] = 0
                    elif tensor.name in ("token_type_ids", "global_attention_mask"):
                        array = np.zeros(shape, np.int64)
                        array[..., 0] = int(tensor.name == "global_attention_mask")
                    else:
                        array = rng.integers(4, 12, shape)
                    feeds[tensor.name] = array.astype(np.int64)
                stored.update({f"{row}/{dtype}/input/{key}": value for key, value in feeds.items()})
                stored.update({f"{row}/{dtype}/run/{key}": value for key, value in session.run(**feeds).items()})
                for method in session.manifest.methods:
                    asked = {"position": np.zeros(batch, np.int64)} if any(t.name == "position" for t in session.manifest.targets(method)) else {}
                    found = session.run_explain(method=method, **feeds, **asked)
                    stored.update({f"{row}/{dtype}/{method}/{key}": value for key, value in found.items() if key in ("relevance", "residual")})
            if manifest.preprocess is not None:
                inputs = TEXT if manifest.preprocess.kind == "text" else TEXT.encode()
                (answer,) = session.predict([inputs])
                if hasattr(answer, "label"):
                    said[f"{dtype}/predict"] = {"label": answer.label, "score": answer.score, "top": answer.top}
                else:
                    stored.update({f"text/{dtype}/run/{key}": value for key, value in answer.outputs.items()})
                if session.manifest.methods:
                    position = {"position": 2} if name_of(manifest) == "tokens" else {}
                    why = session.explain(inputs, **position)
                    stored[f"text/{dtype}/scores"] = why.scores
                    said[f"{dtype}/explain"] = {"tokens": why.tokens, "offsets": why.offsets, "target": why.target, "residual": why.residual, "explained": why.explained}
    np.savez_compressed(path.parent / f"{path.name}.npz", **stored)
    (path.parent / f"{path.name}.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def name_of(manifest) -> str:
    return "tokens" if manifest.task == "token-classification" else manifest.task


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:]:
        made(name, folder / name)
        answered(folder / name)
