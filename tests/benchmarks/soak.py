"""Runs a session from many threads for long: equal answers, flat memory, nothing left over; and ends runs early.

    python tests/benchmarks/soak.py [--runs 20000] [--threads 8]

Exports the reference models `linformer` and `transformer`, and a classifier around a bidirectional LSTM, into a temporary
folder. Writes results/soak.md, and exits with 1 if an answer differs, a thread or descriptor is left, or a transformer's
run ends later than 20 % of its time after it was told to.

- Soak: each thread draws inputs of random lengths, three predictions to one explanation, and compares each answer bit by
  bit with the one of a single thread. Memory is the process's resident set, sampled every 100 runs; its slope is a least
  squares line over the last half. Memory grows until as many long explanations as there are threads have met.
- Early ends: the time from `Cancel.cancel` (at a random moment of the run) and from a deadline to the error, over the
  median time of a whole run. The table gives the median and the largest of 20.
- Close under load: eight threads run while the session closes. Each gets answers and then ClosedError, nothing else.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import numpy as np
import torch
from torch import nn

import edgexf
from edgexf.errors import Cancelled, ClosedError, EdgexfError, TimedOut
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import describe
from edgexf_runtimes.session import Session

RESULTS = Path(__file__).parent / "results" / "soak.md"
INPUTS = 200
LONGEST = 1024  # tokens of the soak; 4,096 for early ends
ALLOWED = 0.2  # of a run's time
ENDS = 20
PAGE = os.sysconf("SC_PAGE_SIZE")

Check = Callable[[], bool]


class Recurrent(nn.Module):
    """A classifier whose graph has one long node."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(258, 128)
        self.lstm = nn.LSTM(128, 128, batch_first=True, bidirectional=True)
        self.head = nn.Linear(256, 4)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.lstm(self.tokens(input_ids))[0].mean(1))
        return logits


def resident() -> float:
    """The resident memory of this process in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20


def left_over(most: int = 0) -> tuple[int, int]:
    """The threads and the open descriptors of this process. Waits up to a second for more than `most` threads to go: the
    kernel still lists a thread that was joined a moment ago.
    """
    for _ in range(100):
        threads = len(os.listdir("/proc/self/task"))
        if threads <= most or not most:
            break
        time.sleep(0.01)
    return threads, len(os.listdir("/proc/self/fd"))


def drawn(length: int, seed: int) -> np.ndarray:
    ids = np.random.default_rng(seed).integers(0, 256, (1, length))
    ids[0, 0] = 257
    return ids


def soak(bundle: Path, runs: int, threads: int) -> tuple[list[list[str]], bool]:
    """The rows of the table, and whether all is as it must be."""
    chance = np.random.default_rng(0)
    inputs = [drawn(int(length), seed) for seed, length in enumerate(chance.integers(2, LONGEST + 1, INPUTS))]
    with edgexf.load(bundle) as warm:  # what the first session of a process leaves behind is not a leak
        warm.run_explain(input_ids=inputs[0])
    before = left_over()
    session = edgexf.load(bundle)
    wanted = [session.run(input_ids=ids)["logits"] for ids in inputs]
    explained = [session.run_explain(input_ids=ids)["relevance"] for ids in inputs]
    memory, wrong, lock, counter = [], [], threading.Lock(), iter(range(runs))

    def work(seed: int) -> None:
        own = np.random.default_rng(seed)
        while True:
            with lock:
                done = next(counter, None)
                if done is None:
                    return
                if done % 100 == 0:
                    memory.append((done, resident()))
            place = int(own.integers(INPUTS))
            if own.random() < 0.25:
                same = np.array_equal(session.run_explain(input_ids=inputs[place])["relevance"], explained[place])
            else:
                same = np.array_equal(session.run(input_ids=inputs[place])["logits"], wanted[place])
            if not same:
                wrong.append(place)

    start = time.perf_counter()
    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - start
    session.close()
    after = left_over(before[0])
    at, held = np.array(memory[len(memory) // 2 :]).T
    slope = float(np.polyfit(at, held, 1)[0]) * 1e4
    rows = [
        ["runs", f"{runs:,} from {threads} threads in {seconds:.0f} s"],
        ["answers that differ from a single thread's in any bit", str(len(wrong))],
        ["resident memory after half of the runs, at the end", f"{held[0]:.0f} MiB, {held[-1]:.0f} MiB"],
        ["slope over the last half", f"{slope:+.2f} MiB in 10,000 runs"],
        ["threads before, after", f"{before[0]}, {after[0]}"],
        ["open descriptors before, after", f"{before[1]}, {after[1]}"],
    ]
    return rows, not wrong and after <= before


def ends(bundle: Path, name: str, explain: bool) -> tuple[list[str], bool]:
    """The row about early ends of one graph, and whether they came in time."""
    ids = drawn(4096, 0)
    with edgexf.load(bundle) as session:
        run = session.run_explain if explain else session.run
        whole = median(timed(lambda: run(input_ids=ids)) for _ in range(7))
        chance = np.random.default_rng(0)
        late = []
        for moment in chance.uniform(0.1, 0.7, ENDS) * whole:
            token, told = edgexf.Cancel(), [0.0]

            def tell(token: edgexf.Cancel = token, told: list[float] = told) -> None:
                told[0] = time.perf_counter()
                token.cancel()

            timer = threading.Timer(moment, tell)
            timer.start()
            try:
                run(input_ids=ids, cancel=token)
            except Cancelled:
                late.append(time.perf_counter() - told[0])
            timer.join()
        overdue = []
        for moment in chance.uniform(0.1, 0.7, ENDS) * whole:
            start = time.perf_counter()
            try:
                run(input_ids=ids, timeout=float(moment))
            except TimedOut:
                overdue.append(time.perf_counter() - start - moment)
    figures = [
        f"{median(found) / whole:.0%}, {max(found) / whole:.0%} ({len(found)})" if found else "none"
        for found in (late, overdue)
    ]
    return [name, f"{whole * 1e3:.0f} ms", *figures], bool(late and overdue) and median(
        late + overdue
    ) <= ALLOWED * whole


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def close_under_load(bundle: Path, rounds: int = 20) -> tuple[int, int]:
    """How many answers came in, and how many threads ended otherwise than by ClosedError."""
    answers, wrong = [0], []
    for seed in range(rounds):
        session = edgexf.load(bundle)
        begun = threading.Barrier(9)

        def work(session: Session = session, begun: threading.Barrier = begun) -> None:
            begun.wait()
            try:
                while True:
                    session.run(input_ids=drawn(128, 0))
                    answers[0] += 1
            except ClosedError:
                return
            except EdgexfError as error:
                wrong.append(error)

        workers = [threading.Thread(target=work) for _ in range(8)]
        for worker in workers:
            worker.start()
        begun.wait()
        for _ in range(seed):
            session.run(input_ids=drawn(64, seed))
        session.close()
        for worker in workers:
            worker.join()
    return answers[0], len(wrong)


@click.command()
@click.option("--runs", default=20_000)
@click.option("--threads", default=8)
def main(runs: int, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        places = {name: Path(folder, name) for name in ("linformer", "transformer", "lstm")}
        for name in ("linformer", "transformer"):
            edgexf.export(variant=name, output=places[name])
        torch.manual_seed(0)
        example = torch.from_numpy(drawn(64, 0))
        edgexf.export(Recurrent().eval(), example_inputs=(example,), output=places["lstm"], explain=())
        rows, good = soak(places["linformer"], runs, threads)
        asked = [("transformer", "predict", False), ("transformer", "attnlrp", True), ("linformer", "predict", False)]
        early = [ends(places[name], f"{name}, {graph}", explain) for name, graph, explain in asked]
        early.append((ends(places["lstm"], "bidirectional LSTM", False)[0], True))  # one node: its own figure, no bound
        answers, wrong = close_under_load(places["linformer"])
    facts = describe()
    text = [
        f"{facts['processor']}, {', '.join(facts['instruction sets'])}; `python tests/benchmarks/soak.py`\n",
        markdown_table(("soak", "seen"), rows),
        "\nAfter a cancel and after a deadline: median and largest share of the time of a whole run (count), 4,096 tokens.\n",
        markdown_table(("graph", "whole run", "after a cancel", "after a deadline"), [row for row, _ in early]),
        f"\nClosed under load 20 times: {answers:,} answers, {wrong} threads that ended otherwise than by ClosedError.",
    ]
    RESULTS.write_text("\n".join(text) + "\n")
    click.echo(RESULTS.read_text())
    sys.exit(0 if good and not wrong and all(fine for _, fine in early) else 1)


if __name__ == "__main__":
    main()
