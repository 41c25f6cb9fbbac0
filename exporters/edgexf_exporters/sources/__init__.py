"""Sources: from what a user asks to export to a `Source`.

    request      what a user asks for, checked as far as that needs no model
    on_disk      what stands at the place that a user names as a model, for `request`
    wrapped      takes wrappers off a module, for `choose`
    choose       decides which kind of source a request asks for
    reference    a reference model with its trained weights or a user's weights, or an encoder in memory
    checkpoint   a model of transformers, from a folder, from the hub or from memory
    classes      the class of transformers to load, and whether its family is listed, for `checkpoint`
    general/     a model of transformers whose family or head is not listed, for `checkpoint`
    sentences/   the pooling and the layers of a model of sentence-transformers, for `checkpoint`
    modules/     a custom module, from its example inputs or by the name of its factory
    heads        the task and the scores of a model of transformers, for `checkpoint` and `general`
    tokenizer    the files of a tokenizer, for `checkpoint`, `general` and `modules`
    calls        how a model is called, for `checkpoint`, `general` and `modules`
    notices      silences what transformers says

A request goes into `choose`. `choose` calls `reference`, `checkpoint` or `modules`. Each of them makes the `Source`
that `edgexf_exporters.capture` and `edgexf_exporters.verify` read.
"""
