"""Explanations that are compiled into graphs: a model, its reverse pass, and relevance in one program.

    methods      the methods as data: each names its program and its rules
    compile      checks a method, then traces its program; the program gradient x input
    layers       which module of the model each node of an explanation comes from
    program      the base of the programs, and what they must know of a source
    integrated   the program of integrated gradients
    rollout      the program of attention weights
    mixing       marks where attention mixes tokens, for `rollout`
    rules        how each operator passes relevance to its inputs
    recurrent    the reverse pass and the rules of LSTM, GRU and RNN
    gates        remembers the sigmoids that multiply, for the rule of products
    gradients    the gradients of these rules
    reverse      gradients that ONNX has no operator for, in operators that ONNX has

`compile` loads the program of a method. The program runs the body of the model under the rules, computes the explained
value (`edgexf_exporters.targets`), and differentiates it. `reverse` decomposes the reverse pass while it is traced. The
same rules and marks surround the untouched model when `edgexf_exporters.verify` compares it with the graph.
"""
