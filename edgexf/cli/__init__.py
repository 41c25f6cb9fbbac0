"""The command line: one file for each command, which parses, makes one library call, and prints.

    app        the group: errors become sentences, exit codes, signals
    options    options that several commands share
    console    tables, progress bars and stages
    export run explain quantize bench info    the commands

Each command imports what it needs inside its function. So `edgexf --help` is quick, and no command but `export` loads
torch.
"""

from edgexf.cli.app import main

__all__ = ["main"]
