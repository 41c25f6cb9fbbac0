"""Models of transformers whose family is not listed: each is traced as it is, and the grid decides.

    sizes      the longest text and the size of an image, as a config and a processor say them
    inputs     a model -> inputs that its forward answers
    processors the image processors of transformers -> the steps from a picture to what a model reads
    timm       the same of timm's configs
    pictures   a `Source` of images -> the same, which reads pictures
    model      a model and its inputs -> a `Source`, by the way of custom modules

A request passes the files in this order, and `model` begins it.
"""
