"""The lowerings of attentions and recurrent layers from other packages, which occur in custom modules.

    torch_nn            the attention of torch.nn, and its encoder and decoder stacks
    torch_rnn           LSTM, GRU and RNN of torch.nn
    torch_packed        packed sequences, as padded tensors with the lengths of their rows
    linformer           projected keys and values, and the reversible stack of this package
    nystrom_attention   landmarks
    reformer_stack      the reversible stack, the feed-forward layer and the padding around `reformer_pytorch`
    reformer_pytorch    hashed attention, with `local_attention` in some heads
    local_attention     windows of a fixed size

Tokens pass from a stack to the attentions in it. The edge of a graph does not know which inputs of a custom module hold
tokens, so it does not pad them. Every lowering takes any length, and pads inside where its library pads. No file
imports the PyPI package that it lowers: `edgexf_exporters.lowerings.swap` loads a file when a model holds a class of
the package.
"""
