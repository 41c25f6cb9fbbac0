"""Finds out what this device offers, and chooses how to run a bundle on it.

    profiles          what a session is tuned for, and the settings of a session
    session_options   threads, spinning and memory of a session, within what this process may use
    providers         opens a graph on the provider that was asked for
    device            the processor, its instruction sets, limits and versions, as text
    dtype             the dtype to run, from the provider, the processor and the bundle's quantization report

Data passes from top to bottom: `device` reads the limits of this process, and `dtype` uses all of them.
`providers.create` then opens the graphs of the chosen dtype.
"""
