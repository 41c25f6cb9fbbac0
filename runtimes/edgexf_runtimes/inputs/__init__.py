"""Turns what a caller gives into arrays that a graph takes.

    labelled     JSON lines become inputs with their labels
    arrays       an ``.npz`` becomes arrays by name
    preprocess   a file, bytes or text becomes a `Raw`; token ids become padded arrays; every array is checked
    text         text becomes windows of token ids, with the bundle's tokenizer
    baseline     the token id that replaces a token which an explanation leaves out
    targets      the further arrays of an explain graph, checked

Data passes from top to bottom, with one exception: `text` tokenizes what `preprocess` read, and `preprocess` then pads
and checks the token ids.
"""
