"""Files of networks that others trained, as their authors publish them, with random weights in them."""

from __future__ import annotations

from pathlib import Path

import torch
from torchvision import models


def vgg_file(folder: Path, name: str, seed: int = 0) -> str:
    """A VGG's file: torchvision's names, random weights that keep the size of activations, and one tensor of the
    classifier, for which nobody who looks through its features has a use."""
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in getattr(models, name)().features.state_dict().items()}
    generator, state = torch.Generator().manual_seed(seed), {"classifier.6.bias": torch.zeros(1000)}
    for key, shape in shapes.items():
        spread = (2 / shape[1:].numel()) ** 0.5 if len(shape) == 4 else 0.1
        state[f"features.{key}"] = torch.randn(shape, generator=generator) * spread
    torch.save(state, folder / f"{name}.pth")
    return str(folder / f"{name}.pth")
