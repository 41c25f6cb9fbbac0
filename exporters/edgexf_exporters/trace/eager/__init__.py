"""A trace that takes the ways of eager PyTorch, though a trace is another program.

    exchange         exchanges the code of functions of torch, for the files below and a lowering
    flags            answers the flags of a trace as eager PyTorch does
    free_sizes       lets functions of torch take a free size that they take for an int
    python_builtins  lets `len`, `isinstance` and `type` answer as in eager PyTorch
    swallowed        finds errors of a trace that the model caught
    text_of_sizes    refuses a trace in which the model makes text of a size

`edgexf_exporters.trace.export` enters all of them around a capture. They end with the capture.
"""
