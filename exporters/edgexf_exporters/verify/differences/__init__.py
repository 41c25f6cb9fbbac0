"""Differences between a graph and its model: an error, or what PyTorch itself leaves open.

columns      the columns of an output at their own scales
ties         discrete choices that rounding decides: the model repeats the graph's choices
unspecified  answers that depend on PyTorch's choice among equal values
rounding     judges by float64 whether a difference over the tolerance is rounding
"""
