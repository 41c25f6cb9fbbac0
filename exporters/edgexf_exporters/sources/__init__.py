"""Sources: from what a user asks to export to a `Source`.

    request      what a user asks for, checked as far as that needs no model
    on_disk      what stands at the place that a user names as a model, for `request`
    wrapped      takes wrappers off a module, for `choose`
    choose       decides which kind of source a request asks for
    reference    a reference model with its trained weights or a user's weights, or an encoder in memory
    checkpoint   a model of transformers, from a folder, from the hub or from memory
    module       a custom module, from its example inputs
    factory      a custom module by the name of its factory, for the command line
    heads        the task and the scores of a model of transformers, for `checkpoint`
    text         a custom module that reads text by a tokenizer
    tokenizer    the files of a tokenizer, for `checkpoint` and `text`
    axes         the axes of a custom module's inputs that vary, for `module`
    examples     inputs of any size that are like the example inputs, for `module`
    probe        runs a custom module to find out about its axes and values, for `module`
    relations    which of these axes vary, and which depend on each other, for `module`
    outputs      how the sizes of a custom module's outputs follow from its inputs, for `module`
    calls        how a custom module is called, for `module`
    notices      silences what transformers says

A request goes into `choose`. `choose` calls `reference`, `checkpoint` or `module`; for the name of a factory, it calls
`factory` before `module`. Each of them makes the `Source` that `edgexf_exporters.capture` and
`edgexf_exporters.verify` read.
"""
