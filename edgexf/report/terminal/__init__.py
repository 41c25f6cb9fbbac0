"""The coloured views of results on a terminal, made with rich.

    explanation   one explanation: the bytes around the strongest run, and the values in words
    picture       a picture that is explained, as a coarse grid
    bars          how far long work is: bars, or lines where a terminal is missing
    comparison    several explanations of one input, in the colours of `explanation`
    similarity    two texts that are alike

In: a result. Out: what rich prints. Every value is also readable without colours.
"""
