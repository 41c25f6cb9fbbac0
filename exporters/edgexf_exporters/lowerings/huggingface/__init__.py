"""The lowerings of the families of transformers.

    dense                BERT, RoBERTa and DistilBERT: full attention
    longformer           a sliding window and global tokens
    led                  the attention of `longformer` in the encoder, full attention in the decoder
    longt5               a sliding window in an encoder, also with the sums of blocks as global keys
    modernbert           a sliding window in most layers, full attention by slices in the others; its decoder
    bigbird              block-sparse attention
    bigbird_pegasus      the attention of `bigbird` in the encoder of an encoder and decoder
    nystromformer        landmarks
    reformer_rotations   the rotations of a Reformer
    reformer             hashed and local attention, with these rotations
    funnel               relative attention over pooled tokens
    swin                 windows of an image, inside any module

A model passes through the file of its family twice. First `describe` reads the limits of the model from its config, and
refuses a model that can't be exported. The result is a `Family`, which may hold a context for calls of the untouched
model. Then `edgexf_exporters.lowerings.swap` replaces the base model, or its encoder and decoder, by a lowering. A
lowering calls the library's output projections and feed-forward layers, and replaces the attention between them.
"""
