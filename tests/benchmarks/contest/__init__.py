"""The parts of `speed.py`: contestants that run in turns, and what is written about them.

Data pass through the files in this order:

    models          families: how an eager model is made, and the products that it can't do without
    cases           which models, layers, lengths and batches are measured
    prepared        bundles on disk; `library`: graphs of transformers' own exporter beside them
    contestants     functions of one case that each run the model once; `compiled`, `library`, `foreign` and `agreement` say who is none
    rows            the functions in turns: one row of times, and whether the row counts
    records         rows in a file of JSON lines
    growth, plot    what the rows say about length
    page            the Markdown of all machines
"""
