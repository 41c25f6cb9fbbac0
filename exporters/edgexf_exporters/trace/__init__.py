"""Trace: torch.export, and the translation of a captured program to ONNX.

    export           captures a module, and translates a captured program
    attention        scaled dot-product attention in operators that ONNX has, for `prepare` and the rules of explanations
    blocks           an operator that cuts an input of any length into whole blocks
    diagnose         finds the line at which a capture stopped
    deadline         the time limit of a capture
    exchange         exchanges the code of functions of torch, for `flags`, `swallowed` and a lowering
    flags            answers the flags of a trace as eager PyTorch does
    guards           the conditions on sizes under which a captured program holds
    free_sizes       lets functions of torch take a free size that they take for an int
    marks            operators that mark tensors in a captured program
    python_builtins  lets `len` and `isinstance` answer as in eager PyTorch
    recurrent        recurrent layers as single operators, and their translation
    operators        operators in operators whose ONNX form answers as PyTorch does, for `prepare`
    prepare          decomposes a captured program into operators that have a translation
    resize           resizing to the nearest entry, for `prepare`
    retrace          traces a function over the inputs of a captured program
    simplify         removes what a translated graph does not need
    swallowed        finds errors of a trace that the model caught

A module goes into `export.capture`; `diagnose` watches the trace, and says in the error where it stopped. `flags`,
`python_builtins` and `swallowed` keep the trace on the way that PyTorch takes. `guards` reads the conditions of the
captured program. `export.translate` removes the marks, calls `prepare`, translates the program to ONNX and calls
`simplify`. `retrace` serves `prepare` and `edgexf_exporters.explain`.
"""
