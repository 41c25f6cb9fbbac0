"""A bundle on disk: a folder of graphs, weights and JSON, versioned and hashed.

    signature   the inputs of a custom module, and how their axes vary
    manifest    `edgexf.json`: all that a reader needs to run the graphs
    golden      a sample of the contract grid: inputs and eager outputs
    folder      reading, checking and writing the folder as a whole

A reader asks `folder.read` for a `Manifest`; a writer gives `folder.write` the files and a manifest.
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
