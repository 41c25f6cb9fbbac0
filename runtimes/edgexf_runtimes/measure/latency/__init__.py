"""A latency report of bundles on this device.

    bench         what is measured of bundles, one after another and in turns
    assemble      what was measured becomes a report
    collected     a bundle that is being measured, and what was measured of it so far
    operators     where the time of a graph goes, from a profiled session
    loadgen       MLPerf's LoadGen drives the session
    rounds        every configuration once, in a process of its own
    stages        where the time of one whole answer goes, from text to labels
    lacking       what a plan does not measure on this device
    cold          fresh processes, from nothing to the first answer; cold_child is their program
    plan          what a measurement does
    scenarios     how queries come: one after another, from several clients, at random times, all at once
    fresh         programs in fresh processes
    floor         what this device can do: the rate of plain products of matrices
    operations    the operations that a graph needs
    energy        counters of joules
    environment   what the device is doing: load, pressure, clock, temperature, each with a reason where unknown
    options       every option of an open session
    files         files of the kernel, and packages that tell the same

Data passes from the plan through processes to the report.
"""
