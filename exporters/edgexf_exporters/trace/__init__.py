"""Trace: torch.export, and the translation of a captured program to ONNX.

    eager      lets the trace take the ways of eager PyTorch, for `export`
    export     captures a module, and translates a captured program
    attention  scaled dot-product attention in operators that ONNX has, for `prepare` and the rules of explanations
    attention_weights  a softmax of scores of which many are hidden, as a single operator
    blocks     an operator that cuts an input of any length into whole blocks
    diagnose   finds the line at which a capture stopped
    deadline   the time limit of a capture
    forms      the forms in which a program can be written as a graph
    fused      full attention by an operator of ONNX Runtime's own
    guards     the conditions on sizes under which a captured program holds
    marks      operators that mark tensors in a captured program
    recurrent  recurrent layers as single operators, and their translation
    operators  operators in operators whose ONNX form answers as PyTorch does, for `prepare`
    prepare    decomposes a captured program into operators that have a translation
    resize     resizing to the nearest entry, for `prepare`
    retrace    traces a function over the inputs of a captured program
    rows       rows by an index, as a single operator whose reverse pass scatters nothing
    sliced     full attention a slice of the queries at a time, as a single operator, and its translation
    simplify   removes what a translated graph does not need
    sizes      arithmetic of sizes as Python computes it, for `prepare`
    windowed   attention of blocks to rows of their own choice, as a single operator, and its translation

A module goes into `export.capture`; `diagnose` watches the trace, and says in the error where it stopped. `eager` keeps
the trace on the way that PyTorch takes. `guards` reads the conditions of the captured program. `export.translate` removes
the marks, calls `prepare`, translates the program to ONNX and calls `simplify`. `retrace` serves `prepare` and
`edgexf_exporters.explain`.
"""
