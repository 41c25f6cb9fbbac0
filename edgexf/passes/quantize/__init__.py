"""Quantization of fp32 graphs: weights in fewer bits, or whole graphs in half precision.

    weights                 the weights of a graph that are worth quantizing, and how the graph uses each
    sample, observe         texts on which layers are watched, and a sample of what each layer multiplies
    scales                  the scales of weights in 8 bits, with which no sum of products saturates
    balance                 how the inputs of a layer are evened out, from that sample
    calibrate               the ranges of what layers multiply, from calibration data
    walk                    the protocol of a scheme, and the walk over a graph that replaces each use of a weight
    int8, blockwise, half   modes: weights in 8 bits, in 4 bits, half precision; `edgexf.dtypes` lists all modes
    loops                   loops that stay in float32 where the rest of a graph is in half precision
    modes                   a mode as a record, and the list of all modes
    builder                 the files of a mode, from the fp32 graphs of a bundle
    layer_check             whether each layer computes what its stored numbers say

Data passes through the files in this order; `builder` runs them for one mode. `edgexf.pipeline.quantize_bundle`
measures the result. Nothing here needs torch.
"""
