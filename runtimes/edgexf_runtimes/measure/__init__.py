"""Measures this device: inputs go in, figures for a report come out.

    calibration     a user's file becomes input arrays, one row at a time
    golden          the bundle's golden inputs run, and the outputs are compared with the eager model's
    agreement       two sessions run the same inputs, and their answers and explanations are compared
    evaluation      a user's or the golden inputs are answered by each dtype, and the answers become its quality
    user_input      a user's file is brought to the lengths of a measurement
    cases           what a measurement runs: a graph, and inputs of one length
    device/         the device itself: what it can do, what it takes, what it is doing
    processes/      fresh processes: cold starts, memory
    speed           the time of a graph relative to another graph
    tuning          the fastest graphs and settings that agree with the golden outputs
    faithfulness    deletion curves: how well explanations fit the model
    latency/        the latency report of a bundle

Data passes from top to bottom. `calibration` reads a user's inputs, which also calibrate quantized graphs. The other
files make figures. Nothing else needs `latency`; `tuning` compares by `speed`.
"""
