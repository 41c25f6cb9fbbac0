"""The device itself, beside the bundle that is measured on it.

    floor         what it can do: the rate of plain products of matrices
    energy        what it takes: counters of joules
    environment   what it is doing: load, pressure, clock, temperature, each with a reason where unknown
    files         files of the kernel, and packages that tell the same

Data passes from the files at the bottom to facts for a report. Nothing here knows the bundle.
"""
