"""List the files of a folder by content, with the most relevant bytes: an application that uses the runtime.

    python samples/sort_folder.py linformer-bundle some/folder

In: a bundle and a folder. Out: the files by label, each with its twelve most relevant bytes.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import click

import edgexf


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(bundle: Path, folder: Path) -> None:
    """Sort the files of FOLDER with BUNDLE."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.stat().st_size > 0)
    by_label = defaultdict(list)
    with edgexf.load(bundle) as session:
        for prediction in session.predict(files):
            by_label[prediction.label].append(prediction)
        for label, predictions in sorted(by_label.items()):
            print(label)
            for prediction in predictions:
                why = session.explain(Path(prediction.input))
                strongest = "".join(why.tokens[i] for i in sorted((-why.scores[1:]).argsort()[:12] + 1))
                print(f"  {Path(prediction.input).name}  {prediction.score:.0%}  {strongest!r}")


if __name__ == "__main__":
    main()
