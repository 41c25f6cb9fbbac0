"""Lowerings: modules that share the weights of a model's modules, compute the same, and can be traced.

    swap           replaces known modules by their lowerings for the duration of an export
    padded         pads a library model inside a custom module to whole blocks
    neighbours     attention over a sliding window: which rows are the queries and keys of blocks
    reference/     the lowerings of the reference models
    huggingface/   the lowerings of the families of transformers
    packages/      the lowerings of attentions from other packages, which occur in custom modules
    fixed_random   fixes a library's random numbers and attributes during a call

A model goes into `swap.lowered`. By the class of each module, `swap` finds the lowering in `VARIANTS` or in its table
`SUPPORT`, and imports the file of the lowering. `edgexf_exporters.trace` can trace the model that comes out.

huggingface/ and packages/ build on reference/. With `fixed_random` they make the untouched model draw the same numbers
as the graph, so that the two can be compared.
"""
