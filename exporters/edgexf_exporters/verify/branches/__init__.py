"""Ways of a model that its trace did not take.

    regions    sizes that the contract allows and the trace does not cover
    settle     compares the graph at such sizes, and narrows the contract to where it agrees
    shortcuts  looks for inputs on which a module goes another way than its trace

`settle` runs before the grid, because the contract that it settles is the one that the grid compares. `shortcuts` runs
after the grid.
"""
