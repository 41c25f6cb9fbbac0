"""Finds out what this device offers, and chooses how to run a bundle on it.

    arguments         the types of what a caller passes to `edgexf.load`
    profiles          what a session is tuned for, and the settings of a session
    asked             the table of providers, and what a caller asked for
    distributions     the onnxruntime packages of this environment
    messages          ONNX Runtime's own messages, in a logger
    session_options   threads, spinning and memory of a session, within what this process may use
    memory            gives freed memory back to the operating system
    weights           lets graphs read one copy of the weights
    plugins           providers that are a library of their own
    shapes            the range of shapes for a provider that compiles a graph
    structure         which nodes compute sizes, and equations, read from the file of a graph
    providers         opens a graph on the providers that were asked for
    placement         where the nodes of a graph run
    device            the processor, its instruction sets, limits and versions, as text
    dtype             the dtype to run, from the provider, the processor and the bundle's quantization report

Data passes from top to bottom: `device` reads the limits of this process, and `dtype` uses all of them.
`providers.create` opens the graphs of the chosen dtype.
"""
