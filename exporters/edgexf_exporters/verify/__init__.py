"""Verification: the graphs of an export against the untouched eager model.

    contract       before the export: whether a model keeps what its config promises
    grid           the cells of the contract grid, and the inputs of each cell
    declared       the sizes of the outputs that the manifest declares
    eager          what the graphs must answer, from the untouched model and torch autograd
    row_by_row     the same for each row alone, for a model whose answers depend on batch mates or padding
    ties           discrete choices that rounding decides: the model repeats the graph's choices
    unspecified    answers that depend on PyTorch's choice among equal values
    rounding       judges by float64 whether a difference over the tolerance is rounding
    columns        the columns of an output at their own scales
    compare        compares the graphs with the model in each cell
    regions        sizes that the contract allows and the trace does not cover
    branches       compares the graph at such sizes, and narrows the contract to where it agrees
    behaviour      further checks: repeated runs, independent samples
    shortcuts      looks for inputs on which a module goes another way than its trace
    graph_checks   checks that compare no answers: random operators, and how tensors grow
    judge          all of this for the files of a bundle: the verdict on an export
    float64        the comparison of a lowering and its library in float64, for tests and benchmarks

`contract` runs first, before anything is traced. When the graphs are made, `judge` opens them, and `branches` settles
the sizes of the contract. `grid` makes the inputs
of each cell, `eager` and `row_by_row` answer them, and `compare` makes a `GridResult`, with `ties` where a difference
may be a tie. `judge` adds the checks of `behaviour`, `shortcuts` and `graph_checks`, and gives a `Verdict`.
"""
