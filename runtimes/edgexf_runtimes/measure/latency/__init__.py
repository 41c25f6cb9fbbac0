"""A latency report of bundles on this device.

    bench        what is measured of bundles, one after another and in turns
    assemble     what was measured becomes a report
    collected    a bundle that is being measured, and what was measured of it so far
    operators    where the time of a graph goes, from a profiled session
    loadgen      MLPerf's LoadGen drives the session
    rounds       every configuration once, in a process of its own
    stages       where the time of one whole answer goes, from text to labels
    lacking      what a plan does not measure on this device
    plan         what a measurement does
    scenarios    how queries come: one after another, from several clients, at random times, all at once
    operations   the operations that a graph needs
    options      every option of an open session

Data passes from the plan through processes to the report.
"""
