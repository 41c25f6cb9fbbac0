"""Models of sentence-transformers: a model of transformers, and what stands behind it in modules.json.

    described   modules.json and the configs beside it, as plain values
    pooling     one vector for each row, from the vectors of its tokens
    layers      the layers behind the pooling, with their weights
    encoder     the model of transformers with its pooling and layers, as one module
    source      the source of that module

`described` reads a folder or a hub id. `source` takes the source of the model of transformers alone, which `checkpoint`
makes, and gives the source of the whole. sentence-transformers itself is never imported.
"""
