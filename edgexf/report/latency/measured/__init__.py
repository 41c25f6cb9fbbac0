"""What was measured, as the plain values of which a latency report is made, each with its JSON.

    loadgen      what MLPerf's LoadGen says
    breakdown    where the time of a graph goes
    stages       where the time of one whole answer goes
    rates        samples a second
    inputs       which inputs were measured
    quality      how far the answers of a dtype may be relied upon
    rows         what was measured, its samples, and cold starts
    facts        values of a device, or the reason why nobody knows them
    statistics   what times say: percentiles, outliers, drift, the change between two processes
    intervals    between which times a percentile lies

Data passes from the samples and facts at the bottom to the values at the top. Nothing here knows the report.
"""
