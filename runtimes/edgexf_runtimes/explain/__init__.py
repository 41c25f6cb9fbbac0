"""Explains a model's answer: each token of the input gets a score.

    place                           the token whose answer is explained
    target                          what is explained of one input, for each kind of head
    integrated_gradients, graph     compiled methods: an explain graph of the bundle runs once, or along a path
    coalitions                      the value of an input in which some tokens are left out
    occlusion, lime, kernel_shap    run-time methods: score features from the values of coalitions
    methods                         the list of the run-time methods
    perturbation                    runs a run-time method on one row
    picture                         what an explain graph says about a picture
    arrays                          runs a run-time method on arrays of several samples

Data passes from top to bottom. Compiled methods need an explain graph, run-time methods only the predict graph.
`graph` and `perturbation` return an `Explanation`, of a picture a `PictureExplanation`, `arrays` returns arrays.
"""
