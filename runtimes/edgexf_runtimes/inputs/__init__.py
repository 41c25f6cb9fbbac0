"""Turns what a caller gives into arrays that a graph takes.

    labelled     JSON lines become inputs with their labels
    records      JSON lines, CSV and folders of many inputs
    arrays       an ``.npz`` becomes arrays by name
    preprocess   a file, bytes or text becomes a `Raw`; token ids become padded arrays
    image        a file, bytes or pixels become a `Picture`
    pixels       a picture becomes the floats that a model of images reads
    text         text becomes windows of token ids, with the bundle's tokenizer
    tokenizer_settings  what the files next to tokenizer.json say
    prompts      texts that stand before an input of a model of embeddings
    baseline     the token id that replaces a token which an explanation leaves out
    made         inputs of a wanted length, for measurements and to warm up
    limits       how much one call may bring
    convert      any value becomes an array, after a look at its size
    contract     the values that are no finite numbers and with which a bundle was verified
    checks       every array of a model of tokens is checked
    own          every array of a custom module is checked
    targets      the further arrays of an explain graph, checked

Data passes from top to bottom, with one exception: `text` tokenizes what `preprocess` read, and `preprocess` then pads
the token ids.
"""
