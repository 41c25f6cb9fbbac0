"""A consumer of a queue in asyncio: several documents at a time, the first ones first, and Ctrl-C ends what is at work.

    python samples/embedding/consumer.py linformer-bundle README.md NOTICE LICENSE

Here the queue is filled from the command line; in an application, a broker's client fills it.
"""

import argparse
import asyncio
from pathlib import Path

import edgexf
from edgexf.errors import EdgexfError

AT_A_TIME = 4


async def consume(session, queue):
    """Answers what is in the queue, until the queue holds None."""
    while (path := await queue.get()) is not None:
        try:
            (found,) = await session.predict_async([path], timeout=30)
            why = await session.explain_async(path, found.label, timeout=60)
            strongest = sorted(zip(why.scores, why.tokens, strict=True), reverse=True)[:3]
            print(f"{path}: {found.label}, because of {' '.join(token for _, token in strongest)}", flush=True)
        except EdgexfError as error:
            print(f"{path}: {error}", flush=True)
    queue.put_nowait(None)  # for the next consumer


async def main(bundle, files):
    queue = asyncio.Queue()
    for path in (*files, None):
        queue.put_nowait(path)
    with edgexf.load(bundle, profile="throughput") as session:
        await asyncio.gather(*(consume(session, queue) for _ in range(AT_A_TIME)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Answer and explain files from a queue.")
    parser.add_argument("bundle")
    parser.add_argument("files", type=Path, nargs="+")
    given = parser.parse_args()
    asyncio.run(main(given.bundle, given.files))
