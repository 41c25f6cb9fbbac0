"""Watches a folder: each new file gets a line in answers.jsonl, until Ctrl-C or SIGTERM, as a service manager sends it.

    python samples/embedding/watch_folder.py linformer-bundle inbox

A file is answered when its size has not changed between two looks. The profile `edge` sleeps while there is nothing to do.
"""

import argparse
import contextlib
import json
import os
import signal
import time
from pathlib import Path

import edgexf
from edgexf.errors import EdgexfError

ANSWERS = "answers.jsonl"


def sizes(folder):
    """The size of each file in the folder, in bytes. A file may go while it is looked at."""
    with os.scandir(folder) as entries:
        found = {}
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file() and entry.name != ANSWERS:
                    found[Path(entry.path)] = entry.stat().st_size
    return found


def main(bundle, folder, every):
    with edgexf.load(bundle, profile="edge") as session, (folder / ANSWERS).open("a") as answers:
        done, before = set(), {}
        while True:
            time.sleep(every)
            now = sizes(folder)
            for path in [path for path, size in now.items() if before.get(path) == size and path not in done]:
                done.add(path)
                try:
                    (found,) = session.predict([path], timeout=30)
                    line = {"file": path.name, "label": found.label, "score": found.score}
                except EdgexfError as error:
                    line = {"file": path.name, "error": str(error)}
                print(json.dumps(line), file=answers, flush=True)
            before = now


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Answer each new file of a folder.")
    parser.add_argument("bundle")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two looks")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        main(given.bundle, given.folder, given.every)
