"""`python -m edgexf` is the command line."""

from edgexf.cli import main

main(prog_name="edgexf")
