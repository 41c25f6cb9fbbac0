"""Measures a session on this device: inputs go in, figures for a report come out.

    calibration     a user's file becomes input arrays, one row at a time
    golden          the bundle's golden inputs run, and the outputs are compared with the eager model's
    agreement       two sessions run the same inputs, and their answers and explanations are compared
    evaluation      a user's or the golden inputs are answered by each dtype, and the answers become its quality
    cases           what a measurement runs: a graph, and inputs of one length
    cold            fresh processes, from nothing to the first answer; cold_child is their program
    resident        the memory of this process
    fresh           programs in fresh processes
    scenarios       how queries come: one after another, from several clients, at random times, all at once
    plan            what a measurement does
    rounds          every configuration once, in a process of its own
    floor           what this device can do: the rate of plain products of matrices
    operations      the operations that a graph needs
    operators       where the time of a graph goes, from a profiled session
    bench           rounds, cold starts and facts of the device become a latency report
    environment     what the device is doing: load, pressure, clock, temperature, energy, each with a reason where unknown
    speed           the time of a graph relative to another graph
    faithfulness    deletion curves: how well explanations fit the model

Data passes from top to bottom. `calibration` reads a user's inputs, which also calibrate quantized graphs. The other
files make figures. Nothing else needs `speed` and `bench`.
"""
