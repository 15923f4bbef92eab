"""Pictures whose classes can be learnt, and tiny pretrained models of images, made without a download."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 32
VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "patch_size": 8}
SIZES: dict[str, dict[str, Any]] = {
    "convnext": {"num_stages": 2, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "convnextv2": {"num_stages": 2, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "mobilenet_v1": {"depth_multiplier": 0.25, "image_size": SIDE},
    "mobilenet_v2": {"depth_multiplier": 0.25, "image_size": SIDE},
    "regnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 8},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "swin": {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "patch_size": 4, "window_size": 4},
    "vit": {**VIT, "image_size": SIDE},
}
SIZES["swin"]["image_size"] = SIDE
PREPROCESSOR = {
    "do_resize": True,
    "size": {"height": SIDE, "width": SIDE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.5, 0.25, 0.2],
}


def make_model(
    folder: Path, *, kind: str = "vit", classes: Sequence[str] = ("a", "b", "c", "d"), **values: Any
) -> Path:
    """A tiny network with random weights, and its preprocessor, as save_pretrained writes them."""
    import torch
    from transformers import AutoConfig, AutoModelForImageClassification

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZES[kind], **values}, id2label=dict(enumerate(classes)))
    AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


def write_pictures(folder: Path, *, count: int = 20, side: int = SIDE) -> Path:
    """Bright and dark pictures, `count` of each class."""
    draw = np.random.default_rng(0)
    for name, shade in (("bright", 200), ("dark", 50)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(shade - 45, shade + 45, (side, side, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder
