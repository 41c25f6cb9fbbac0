"""The HTML pages of results. Each page is one self-contained file, without script or network.

    explanation    the page of one explanation
    picture        the page of a picture that is explained
    comparison     the page of several explanations of one input
    similarity     the page of two texts that are alike
    quantization   the page of a quantization report
    latency/       the page of a latency report, or of several over each other
    views          the input by words, tokens, characters or bytes, in the colours of relevance
    document       the frame of every page, with sections and tables
    style          the style sheet that every page holds

Data passes from the pages at the top to the frame at the bottom.
"""
