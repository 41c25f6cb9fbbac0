"""`python -m edgexf`, and the command `edgexf`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line. Ctrl-C ends it without a traceback also while it is imported."""
    try:
        from edgexf.cli import main as run

        run(prog_name="edgexf")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
