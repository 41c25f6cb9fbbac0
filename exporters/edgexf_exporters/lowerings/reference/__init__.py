"""The lowerings of the reference models in `edgexf.models`: their positions, and a file for each attention.

    positions   the position table, as two small tables
    context     the n-gram context of each token
    full        full attention; `hide` and `attend` serve the other lowerings too
    windowed    a sliding window and a global first token
    hashed      locality-sensitive hashing
    projected   projected keys and values

In every layer, the positions are added to the tokens, and the result passes through one of the attentions: hidden
float32 [batch, sequence, width] and mask bool [batch, sequence] go in, float32 [batch, sequence, width] comes out.
"""
