"""A classifier that is fine-tuned here, on real text, and exported: its labels, its accuracy, its explanations.

    python tests/benchmarks/finetuned.py [--steps 150] [--folder FOLDER]

The text are docstrings of packages that are installed here; the label is the package. The encoder begins with the weights
of all-MiniLM-L6-v2. The bundle is compared with the eager model on docstrings that were not trained on. Results go to
results/finetuned.md, the page of one explanation to FOLDER.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

sys.path.insert(0, str(Path(__file__).parents[1]))

import minilm

import edgexf
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import machine

PACKAGES = ("numpy", "torch", "transformers", "onnx", "matplotlib")
EACH = 260  # docstrings of a package
HELD_OUT = 60  # of them
LONGEST = 64  # tokens
WORDS = 15  # of a docstring, at least
BATCH = 16
RATE = 1e-4
RESULTS = Path(__file__).parent / "results" / "finetuned.md"


def docstrings(package: str) -> Iterator[str]:
    """The docstrings of functions and classes of a package, its own name taken out, so that it tells nothing."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} must be installed")
    for path in sorted(Path(spec.submodule_search_locations[0]).rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue  # a package may hold templates that are no Python
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (found := ast.get_docstring(node)):
                text = " ".join(found.split()).replace(package, "package")
                if len(text.split()) >= WORDS:
                    yield text


def data() -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """What is trained on and what is held out, as texts with their labels; no text is in both."""
    chance, trained, held_out = np.random.default_rng(0), [], []
    for label, package in enumerate(PACKAGES):
        texts = sorted(set(docstrings(package)))
        chosen = [texts[place] for place in chance.permutation(len(texts))[:EACH]]
        held_out += [(text, label) for text in chosen[:HELD_OUT]]
        trained += [(text, label) for text in chosen[HELD_OUT:]]
    return trained, held_out


def train(steps: int, texts: list[tuple[str, int]], tokenizer: Any) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(minilm.source(), id2label=dict(enumerate(PACKAGES)))
    model = BertForSequenceClassification.from_pretrained(minilm.source(), config=config).train()
    optimizer, chance = torch.optim.AdamW(model.parameters(), lr=RATE), np.random.default_rng(0)
    for step in range(steps):
        batch = [texts[place] for place in chance.integers(0, len(texts), BATCH)]
        given = tokenizer(
            [text for text, _ in batch], truncation=True, max_length=LONGEST, padding=True, return_tensors="pt"
        )
        loss = model(**given, labels=torch.tensor([label for _, label in batch])).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 25 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    tokenizer = AutoTokenizer.from_pretrained(minilm.source(), model_max_length=LONGEST)
    trained, held_out = data()
    start = time.perf_counter()
    model = train(chosen.steps, trained, tokenizer)
    seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as made:
        folder = chosen.folder or Path(made)
        folder.mkdir(exist_ok=True)
        model.save_pretrained(folder / "checkpoint")
        tokenizer.save_pretrained(folder / "checkpoint")
        bundle = edgexf.export(folder / "checkpoint", output=folder / "bundle", overwrite=True)
        texts, labels = [text for text, _ in held_out], np.array([label for _, label in held_out])
        eager, rows = [], []
        for text in texts:
            with torch.no_grad():
                given = tokenizer(text, truncation=True, max_length=LONGEST, return_tensors="pt")
                eager.append(model(**given).logits.softmax(-1)[0].numpy())
        with edgexf.load(bundle.path) as session:
            answers = session.predict(texts, truncate=True, top_k=None)
            found = np.array(
                [[{one["label"]: one["score"] for one in answer}[name] for name in PACKAGES] for answer in answers]
            )
            for place in (0, HELD_OUT, 2 * HELD_OUT):
                why = session.explain(texts[place], truncate=True)
                words = sorted(why.words, key=lambda word: -word.score)[:5]
                said = ", ".join(word.text.strip() for word in words)
                rows.append(
                    [PACKAGES[labels[place]], next(iter(why.target)), said, f"{why.residual / why.explained:.2f}"]
                )
                (folder / f"why-{place}.html").write_text(why.to_html(), encoding="utf-8")
    wanted = np.array(eager)
    equal = int((found.argmax(1) == wanted.argmax(1)).sum())
    figures = [
        ["labels that are the eager model's", f"{equal} of {len(texts)}"],
        ["accuracy of the eager model", f"{(wanted.argmax(1) == labels).mean():.3f}"],
        ["accuracy of the bundle", f"{(found.argmax(1) == labels).mean():.3f}"],
        ["largest difference of a score", f"{np.abs(found - wanted).max():.1e}"],
    ]
    table = markdown_table(["", ""], figures)
    words = markdown_table(["package", "explained", "words most in favour", "residual / explained"], rows)
    RESULTS.write_text(
        "# A classifier that was fine-tuned on real text\n\n"
        f"`python tests/benchmarks/finetuned.py --steps {chosen.steps}` on {machine()}. Docstrings of {len(PACKAGES)} packages, of\n"
        f"which the model names the package; {len(trained)} trained on in {seconds:.0f} s, {len(texts)} held out.\n\n{table}\n"
        f"Three of its explanations (attnlrp):\n\n{words}"
    )
    print(table, words)


if __name__ == "__main__":
    main()
