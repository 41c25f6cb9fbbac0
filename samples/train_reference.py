"""Train one of the four reference models on files of this machine.

    python samples/train_reference.py linformer /usr --output linformer.safetensors

In: folders (see reference_data.py for labels and split). Out: weights, and beside them a model card with figures
measured on held-out files. Training can be stopped, and started again with the same command: batches are a function of
the seed and the step, and a checkpoint is kept beside the output.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from reference_data import Labelled, Sampler, balanced, crop, find, pad, split, without_near_copies
from rich.progress import track
from torch.nn import functional as F

from edgexf.models import ARCHITECTURES, architecture, build
from edgexf.models import weights as weights_on_disk
from edgexf.models.encoder import Encoder
from edgexf.spec import CLASS_ID, LABELS, EncoderSpec

BATCH_TOKENS = 16_384
STAGES = ((0.55, 512), (0.25, 1024), (0.20, 4096))  # (share of the tokens, crop length in bytes)
WARM_UP = 200  # steps
EVALUATED_LENGTHS = (512, 1024, 4096)


@dataclass(frozen=True)
class Step:
    size: int
    length: int


def schedule(tokens: int) -> list[Step]:
    """The size and the length of each step: short crops first, the full length last."""
    steps = []
    for share, length in STAGES:
        size = max(BATCH_TOKENS // length, 8)
        steps += [Step(size, length)] * math.ceil(share * tokens / (size * length))
    return steps


def learning_rate(step: int, steps: int, peak: float) -> float:
    """The learning rate of a step: a linear warm-up, then a cosine down to a fiftieth of the peak."""
    if step < WARM_UP:
        return peak * (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(steps - WARM_UP, 1)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


CARD = """# {name}: what kind of content is in this file?

{about}

## Data

{data}

## Top-1 on held-out files

| crop, bytes | from a random offset | from the first byte |
|---:|---:|---:|
{top1}

A file shorter than the crop is read whole.{shipped}

## What stays hard

At 4,096 bytes from a random offset:

| is | was called | files |
|---|---|---:|
{hard}
"""


class Trainer:
    def __init__(
        self, model: Encoder, files: Sequence[Labelled], tokens: int, peak: float, seed: int, bf16: bool
    ) -> None:
        self.model = model.train()
        self.files = files
        self.sampler = Sampler(files, seed)
        self.steps = schedule(tokens)
        self.peak = peak
        self.bf16 = bf16
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.05)
        self.step = 0
        self.loss = math.log(len(LABELS))  # running mean, nats

    def advance(self) -> None:
        size, length = self.steps[self.step].size, self.steps[self.step].length
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, len(self.steps), self.peak)
        ids, mask, labels = (torch.from_numpy(array) for array in self.sampler.batch(self.step, size, length))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits = self.model(ids, mask)
        loss = F.cross_entropy(logits.float(), labels)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.loss += 0.02 * (loss.item() - self.loss)
        self.step += 1

    def settings(self) -> dict[str, object]:
        """The settings of a training. Another attention, schedule or set of files must not resume its checkpoint."""
        files = hashlib.sha256(
            "\n".join(sorted(str(file.path) for file in self.files)).encode(errors="replace")
        ).hexdigest()
        return {
            "attention": self.model.spec.attention.kind, "seed": self.sampler.seed, "steps": len(self.steps),
            "learning rate": self.peak, "files": files,
        }  # fmt: skip

    def save(self, path: Path) -> None:
        state = {
            "settings": self.settings(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "loss": self.loss,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        if state["settings"] != self.settings():
            raise click.UsageError(
                f"a checkpoint is resumed with the settings it was made with, got {self.settings()} "
                f"for {state['settings']}; use them again, or remove {path.name}."
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.loss = state["step"], state["loss"]

    def run(self, checkpoint: Path, every: int = 100) -> None:
        for _ in track(range(self.step, len(self.steps)), description=f"{self.model.spec.attention.kind} attention"):
            self.advance()
            if self.step % every == 0:
                self.save(checkpoint)
                print(f"step {self.step}/{len(self.steps)} loss {self.loss:.3f}", flush=True)
        self.save(checkpoint)


@torch.no_grad()
def predict(model: Encoder, crops: Sequence[np.ndarray]) -> list[int]:
    """Predicts the label index of each crop, in batches of about `BATCH_TOKENS` tokens, longest crops first."""
    answers = [0] * len(crops)
    rest = sorted(range(len(crops)), key=lambda i: -len(crops[i]))
    while rest:
        size = max(BATCH_TOKENS // len(crops[rest[0]]), 1)
        rows, rest = rest[:size], rest[size:]
        ids, mask = pad([crops[i] for i in rows])
        for i, label in zip(
            rows, model(torch.from_numpy(ids), torch.from_numpy(mask)).argmax(-1).tolist(), strict=True
        ):
            answers[i] = label
    return answers


def held_out_crops(files: Sequence[Labelled], length: int, seed: int, at_start: bool) -> list[np.ndarray]:
    chance = np.random.default_rng((seed, length))
    offsets = [0 if at_start else int(chance.integers(max(file.size - length, 0) + 1)) for file in files]
    return [crop(file, length, offset) for file, offset in zip(files, offsets, strict=True)]


def evaluate(
    model: Encoder, files: Sequence[Labelled], seed: int
) -> tuple[dict[tuple[int, bool], float], Counter[tuple[str, str]]]:
    """Top-1 accuracy by (length, whether crops start at the first byte), and counts of wrong (truth, answer) pairs.

    The pairs are counted at the full length from random offsets.
    """
    model.eval()
    top1, confused = {}, Counter[tuple[str, str]]()
    truth = [file.label for file in files]
    for length in EVALUATED_LENGTHS:
        for at_start in (False, True):
            answers = predict(model, held_out_crops(files, length, seed, at_start))
            top1[length, at_start] = float(np.mean([a == t for a, t in zip(answers, truth, strict=True)]))
            if length == max(EVALUATED_LENGTHS) and not at_start:
                confused.update((LABELS[t], LABELS[a]) for a, t in zip(answers, truth, strict=True) if a != t)
    return top1, confused


def shipped_set(model: Encoder, listing: Path) -> str:
    """A sentence on the top-1 accuracy on an evaluation set: JSON lines of `input`, beside the listing, and `label`."""
    rows = [json.loads(line) for line in listing.read_text().splitlines()]
    data = [np.frombuffer((listing.parent / row["input"]).read_bytes(), dtype=np.uint8) for row in rows]
    answers = predict(model.eval(), [np.concatenate(([CLASS_ID], crop.astype(np.int64))) for crop in data])
    correct = [LABELS[answer] == row["label"] for answer, row in zip(answers, rows, strict=True)]
    return f"\n\nTop-1 on the shipped evaluation set of {len(rows)} crops: {np.mean(correct):.4f}."


def card(
    name: str,
    trainer: Trainer,
    sides: tuple[list[Labelled], list[Labelled]],
    tested: Sequence[Labelled],
    notes: Sequence[str],
    listing: Path | None,
) -> str:
    """Measures the model and writes its card, in Markdown."""
    top1, confused = evaluate(trainer.model, tested, trainer.sampler.seed)
    a_label = Counter(file.label for file in tested)
    tokens = sum(step.size * step.length for step in trainer.steps)
    about = (
        f"A {trainer.model.spec.attention.kind}-attention byte encoder, "
        f"{sum(p.numel() for p in trainer.model.parameters()):,} parameters, that reads up to 4,096 raw bytes "
        f"and names one of {len(LABELS)} kinds."
    )
    data = (
        f"Training: {len(sides[0]):,} files from {len({f.group for f in sides[0]}):,} folder groups. "
        f"Held out: {len(sides[1]):,} files from {len({f.group for f in sides[1]}):,} other groups, "
        f"of which {len(tested):,} were tested ({min(a_label.values())} to {max(a_label.values())} a label). "
        "Files are labelled by extension and split by group, so that versions, vendored copies and translations stay "
        f"on one side; no tested file shares half of its content or more with a file trained on. Seed {trainer.sampler.seed}; "
        f"{tokens / 1e6:.0f} million tokens, in crops of 512, 1,024 and finally 4,096 bytes, two thirds of them from a random offset."
    )
    top1_rows = [
        f"| {length:,} | {top1[length, False]:.4f} | {top1[length, True]:.4f} |" for length in EVALUATED_LENGTHS
    ]
    hard_rows = [
        f"| {truth} | {answer} | {count} of {a_label[LABELS.index(truth)]} |"
        for (truth, answer), count in confused.most_common(8)
    ]
    return CARD.format(
        name=name,
        about=about,
        data="\n\n".join([*notes, data]),
        top1="\n".join(top1_rows),
        shipped=shipped_set(trainer.model, listing) if listing is not None else "",
        hard="\n".join(hard_rows),
    )


@click.command()
@click.argument("variant", type=click.Choice([a.name for a in ARCHITECTURES]))
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--exclude", multiple=True, help="Folders to leave out, as globs over their whole path.")
@click.option("--tokens", default=60_000_000, show_default=True, help="Tokens to train on.")
@click.option(
    "--start-from",
    type=click.Path(exists=True, path_type=Path),
    help="Weights whose tensors of the same name and shape are the start.",
)
@click.option("--learning-rate", default=1.5e-3, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--bf16/--fp32", default=False, help="Matrix products in bfloat16.")
@click.option("--test-files", default=100, show_default=True, help="Held-out files a label to test on.")
@click.option(
    "--evaluation",
    type=click.Path(exists=True, path_type=Path),
    help="A further set to test on: tests/data/evaluation.jsonl.",
)
@click.option("--note", multiple=True, help="A paragraph on the data for the model card.")
def main(
    variant: str, folders: tuple[Path, ...], output: Path, exclude: tuple[str, ...], tokens: int, start_from: Path | None,
    learning_rate: float, seed: int, threads: int, bf16: bool, test_files: int, evaluation: Path | None, note: tuple[str, ...],
) -> None:  # fmt: skip
    """Train VARIANT on the files under FOLDERS."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    model = build(EncoderSpec(attention=architecture(variant).attention))
    if start_from is not None:
        given, own = weights_on_disk.read(start_from)[0], model.state_dict()
        model.load_state_dict(
            {name: given[name] if name in given and given[name].shape == own[name].shape else own[name] for name in own}
        )
    sides = split(find(folders, exclude), seed)
    trainer = Trainer(model, sides[0], tokens, learning_rate, seed, bf16)
    checkpoint = output.with_suffix(".checkpoint")
    if checkpoint.exists():
        trainer.resume(checkpoint)
    trainer.run(checkpoint)
    weights_on_disk.save(model, output)
    tested = balanced(without_near_copies(balanced(sides[1], 3 * test_files, seed), sides[0]), test_files, seed)
    output.with_suffix(".md").write_text(card(variant, trainer, sides, tested, note, evaluation))


if __name__ == "__main__":
    main()
