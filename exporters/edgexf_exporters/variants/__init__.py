"""The attentions that can be lowered, as plain data: reading them imports no torch.

    reference     those of edgexf's own models
    huggingface   those of the families of transformers
    packages      those of packages, inside any module

In: nothing. Out: `VARIANTS`, in the order of these files, which are those of the rooms of `edgexf_exporters.lowerings`.
"""

from edgexf_exporters.variants import huggingface, packages, reference

VARIANTS = (*reference.VARIANTS, *huggingface.VARIANTS, *packages.VARIANTS)
