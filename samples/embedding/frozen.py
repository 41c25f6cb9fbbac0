"""A program in one file, for a device without Python. The bundle lies beside it.

    pip install pyinstaller
    pyinstaller --onefile --name label samples/embedding/frozen.py
    cp -r linformer-bundle dist/bundle
    dist/label README.md

PyInstaller finds onnxruntime's libraries by itself, and edgexf's modules by the imports below: `edgexf.load` imports them
at its first use, where a freezer does not look.
"""

import sys
from pathlib import Path

import edgexf_runtimes.session
from edgexf.errors import EdgexfError

BESIDE = Path(sys.executable if getattr(sys, "frozen", False) else __file__).parent / "bundle"

if __name__ == "__main__":
    try:
        with edgexf_runtimes.session.load(BESIDE) as session:
            for found in session.predict([Path(argument) for argument in sys.argv[1:]]):
                print(f"{found.input}: {found.label} {found.score:.3f}")
    except EdgexfError as error:
        sys.exit(f"error: {error}")
