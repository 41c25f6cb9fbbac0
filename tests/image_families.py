"""Small image classifiers of transformers with random weights, whose answers depend on their pixels.

A BatchNorm takes its statistics from random images, as in training: with the library's own (mean 0, variance 1) a random
EfficientNet answers every image alike, and nothing that is compared with it says anything.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn

PIXELS = 32
TRANSFORMER = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37, "patch_size": 8,
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "ViT": TRANSFORMER,
    "DeiT": TRANSFORMER,
    "Swin": {"patch_size": 2, "embed_dim": 8, "depths": [1, 2], "num_heads": [1, 2], "window_size": 4},
    "ConvNext": {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 2, 1], "layer_scale_init_value": 0.5},
    "EfficientNet": {
        "width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320, "drop_connect_rate": 0.0,
        "kernel_sizes": [3, 5, 3], "in_channels": [32, 16, 24], "out_channels": [16, 24, 24], "strides": [1, 2, 1],
        "expand_ratios": [1, 4, 4], "num_block_repeats": [1, 2, 5], "depthwise_padding": [], "dropout_rate": 0.0,
    },
    "MobileNetV2": {"depth_multiplier": 0.25, "output_stride": 8},
    "ResNet": {"embedding_size": 8, "hidden_sizes": [16, 24], "depths": [1, 2]},
}  # fmt: skip


def images(rows: int = 2, seed: int = 0, pixels: int = PIXELS) -> Tensor:
    return torch.randn(rows, 3, pixels, pixels, generator=torch.Generator().manual_seed(seed))


def small_image_model(family: str, head: str = "ForImageClassification", **sizes: Any) -> Any:
    """Builds a small model in eval mode. `sizes` stand in place of those of the family."""
    config = getattr(transformers, f"{family}Config")(
        **{"image_size": PIXELS, "num_labels": 3, **SIZES[family], **sizes}
    )
    torch.manual_seed(0)
    model = getattr(transformers, family + head)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
            if parameter.ndim == 4 and parameter.shape[0] > 1:  # a kernel that keeps the size of its input
                parameter.div_(parameter.std() * parameter[0].numel() ** 0.5)
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0  # the statistics of this run alone
        model.train()(pixel_values=images(16, seed=1, pixels=config.image_size))
    return model.eval()
