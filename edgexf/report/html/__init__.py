"""The HTML pages of results. Each page is one self-contained file, without script or network.

    explanation    the page of one explanation
    comparison     the page of several explanations of one input
    quantization   the page of a quantization report
    latency        the page of a latency report, or of several over each other
    samples        the samples of latency reports as charts
    bars           their cold starts, resident memory and changes as charts
    charts         their charts over lengths
    plots          plots as inline SVG in the colours of the page, by matplotlib
    raw            the files that a page of a latency report holds
    template       the template and the style of that page, for Jinja2
    views          the input by words, tokens, characters or bytes, in the colours of relevance
    document       the frame of every page, with sections and tables
    style          the style sheet that every page holds

Data passes from the pages at the top to the frame at the bottom.
"""
