"""Verification: the graphs of an export against the untouched eager model.

    contract       before the export: whether a model keeps what its config promises
    grid           the cells of the contract grid, and the inputs of each cell
    declared       the sizes of the outputs that the manifest declares
    eager          what the graphs must answer, from the untouched model and torch autograd
    row_by_row     the same for each row alone, for a model whose answers depend on batch mates or padding
    compare        compares the graphs with the model in each cell
    differences    what a difference means: an error, rounding, or what PyTorch leaves open
    branches       ways of the model that its trace did not take: sizes, and inputs
    behaviour      further checks: repeated runs, independent samples
    graph_checks   checks that compare no answers: random operators, and how tensors grow
    judge          all of this for the files of a bundle: the verdict on an export
    float64        the comparison of a lowering and its library in float64, for tests and benchmarks

`contract` runs first, before anything is traced. When the graphs are made, `judge` opens them, and `branches` settles
the sizes of the contract. `grid` makes the inputs of each cell, `eager` and `row_by_row` answer them, and `compare` makes
a `GridResult`, with `differences` where a cell is over the tolerance. `judge` adds the checks of `behaviour`, `branches`
and `graph_checks`, and gives a `Verdict`.
"""
