"""Custom modules: from a module and its example inputs to a `Source`.

    module       a custom module, from its example inputs
    factory      a custom module by the name of its factory, for the command line
    text         a custom module that reads text by a tokenizer
    relations    which axes of the inputs vary, and which depend on each other, for `module`
    outputs      how the sizes of the outputs follow from the sizes of the inputs, for `module`
    memory       whether answers depend on earlier calls, for `module`
    padding      whether padding behind a row changes the answers, for `module`
    probe        runs a custom module to find out about its axes and values, for `module`
    examples     inputs of any size that are like the example inputs, for `module`
    lookups      which embedding looks up which ids, for `probe`
    axes         the axes of the inputs that vary, for `module`

`module` reads the example inputs with `axes`, draws further inputs with `examples`, and runs the module on them with
`probe`. `relations` and `outputs` read what these runs say about sizes. `factory` and `text` come before `module`.
"""
