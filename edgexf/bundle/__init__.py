"""A bundle on disk: a folder of graphs, weights and JSON, versioned and hashed.

    formula      sizes that follow from other sizes
    signature    the inputs of a custom module, and how their axes vary
    steps        what happens to a picture before a model reads it
    preprocess   how text or bytes become token ids, and a picture numbers
    embedding    how texts become embeddings: prompts, what is pooled, and how much of it is kept
    dimensions   the names that dimensions had in earlier versions
    operations   the operations of a graph as formulas of the sizes of its inputs
    fitted       such formulas from counts at some sizes
    profile      where the time of each graph goes: modules of nodes, and operations
    graphs       the graphs of a bundle as its manifest lists them, and their candidates
    manifest     `edgexf.json`: all that a reader needs to run the graphs
    heads        what the outputs of a model mean, and the list of tasks
    golden       a sample of the contract grid: inputs and eager outputs
    processes    whether the process that left a half-written bundle still runs
    folder       reading, checking and writing the folder as a whole

A reader calls `folder.read`, which returns a `Manifest`. A writer passes the files and a manifest to `folder.write`.
"""

from edgexf.bundle.folder import (
    SIGNING_FILE,
    Bundle,
    check_target,
    digest_of,
    read,
    read_json,
    remove_remains,
    revise,
    sha256,
    write,
    write_synced,
)

__all__ = [
    "SIGNING_FILE",
    "Bundle",
    "check_target",
    "digest_of",
    "read",
    "read_json",
    "remove_remains",
    "revise",
    "sha256",
    "write",
    "write_synced",
]
