"""The command line. One file for each command: a command parses, makes one library call, and prints.

    app        the group of commands: errors as sentences, exit codes, signals
    options    options that several commands share, and how commands write files
    session    the options of a session, and the session that they open
    export run explain quantize ort tune bench compare info    the commands
    console    tables, progress bars and stages
    streams    the standard streams: errors of writing, and text from outside

Arguments pass from the group through the options to a command, and its results pass to the console. Each command
imports what it needs inside its function. Therefore `edgexf --help` is quick, and no command but `export` loads torch.
"""

from edgexf.cli.app import main

__all__ = ["main"]
