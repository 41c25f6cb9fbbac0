"""A pool of processes: each opens the bundle once and answers files.

    python samples/embedding/worker_pool.py linformer-bundle README.md NOTICE --workers 2

In: a bundle and files. Out: a line for each file, in order. Each worker opens its own session, since an open session stays
in its process. With start method fork a session of the parent would also do: the child gets a fresh one at its first use.
"""

import argparse
import multiprocessing
from pathlib import Path

import edgexf
from edgexf.errors import EdgexfError


def start(bundle):
    """Opens the worker's session. One thread: the workers share the processors."""
    global session
    session = edgexf.load(bundle, threads=1)


def answer(path):
    """One line about one file: its label, or why there is none."""
    try:
        (found,) = session.predict([path], timeout=30)
    except EdgexfError as error:
        return f"{path}: {error}"
    return f"{path}: {found.label} {found.score:.3f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Answer files in a pool of processes.")
    parser.add_argument("bundle")
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--start-method", choices=multiprocessing.get_all_start_methods(), default="spawn")
    given = parser.parse_args()
    context = multiprocessing.get_context(given.start_method)
    with context.Pool(given.workers, start, (given.bundle,)) as pool:
        for line in pool.imap(answer, given.files):
            print(line, flush=True)
