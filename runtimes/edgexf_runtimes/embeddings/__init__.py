"""Embeddings: one vector for a text, as people know it from sentence-transformers.

    embedding    texts become vectors; how alike two vectors are
    similarity   why two texts are alike

It stands above the predictor, because an explanation of a similarity embeds both texts first.
"""
