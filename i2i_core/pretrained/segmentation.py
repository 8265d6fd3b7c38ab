"""Read classes off photos with torchvision's segmentation networks, whose trained weights come from a file.

x_BCHW photos in [-1, 1]; classes_BHW numbers of classes.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i_core.errors import ConfigError
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import storage_of
from i2i_core.tensors import loaded, tensors_of

ARCHITECTURES = (
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)
"""Functions of torchvision.models.segmentation."""
LAST = ("classifier.4.weight", "classifier.low_classifier.weight")
"""Names of the last layer's weights, in one or another architecture."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's mean and deviation in [0, 1], which torchvision's networks were trained with."""
TOGETHER = 4
"""Photos in one forward pass of the network."""


class Segmenter(nn.Module):
    """Read classes off photos with a torchvision network.

    Args:
        numbers: (channels,) the class of each of the network's outputs; K for one that does not count.
        height: height in pixels that photos are resized to (bilinear, antialiased), the width in proportion; 0: their
            own size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, numbers: np.ndarray, height: int = 0) -> None:
        super().__init__()
        self.network, self.numbers, self.height = network.eval().requires_grad_(False), numbers, height
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])

    @torch.no_grad()
    def forward(self, x_BCHW: Tensor) -> np.ndarray:
        """Predict classes_BHW of photos in [-1, 1]."""
        return np.concatenate([self._some(part) for part in x_BCHW.split(TOGETHER)])

    def _some(self, x_BCHW: Tensor) -> np.ndarray:
        size = x_BCHW.shape[-2:]
        x = ((x_BCHW.to(self.mean).clamp(-1, 1) + 1) / 2 - self.mean) / self.std
        if self.height:
            larger = (self.height, max(1, round(self.height * size[1] / size[0])))
            x = F.interpolate(x, larger, mode="bilinear", antialias=True, align_corners=False)
        logits = self.network(x)["out"]
        if self.height:
            logits = F.interpolate(logits, size, mode="bilinear", antialias=True, align_corners=False)
        return self.numbers[logits.argmax(1).cpu().numpy()]


def read_network(path: str) -> tuple[nn.Module, dict[str, Any]]:
    """Read a network of torchvision.models.segmentation from a file of its state; return also facts about it.

    The state's names and shapes tell which network it is, and how many classes it has; an auxiliary head is left out.
    The file is torch's (a state dict, or one under `model` or `state_dict`, with or without `module.` before its names)
    or safetensors.

    Raises:
        ConfigError: there is no such file, it is no file of tensors, or it belongs to another network.
    """
    from torchvision.models import segmentation  # late: seconds to import

    state, data = _read_state(path)
    state = {name: x for name, x in state.items() if not name.startswith("aux_classifier.")}
    shapes = {name: tuple(x.shape) for name, x in state.items()}
    last = next((shapes[name] for name in LAST if len(shapes.get(name, ())) == 4), None)
    for name in ARCHITECTURES if last else ():
        options: dict[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": last[0] if last else 0}
        with torch.device("meta"):
            network = getattr(segmentation, name)(**options, **({} if "lraspp" in name else {"aux_loss": False}))
        if {key: tuple(x.shape) for key, x in network.state_dict().items()} == shapes:
            network.load_state_dict(state, assign=True)
            return network.float().eval(), {
                "network": name, "classes": options["num_classes"], "file": path, "sha256": sha256(data)
            }  # fmt: skip
    found = f"{path}, a state of {len(shapes)} tensors" + (f" ({min(shapes)}, ...)" if shapes else "")
    raise ConfigError("--segmentation", found, "one of " + ", ".join(ARCHITECTURES), "Save network.state_dict().")


def _read_state(path: str) -> tuple[dict[str, Tensor], bytes]:
    """Read the tensors of a state file by name; return also the file's bytes."""
    fix = "Name a file that torch.save(network.state_dict(), FILE) wrote, or a safetensors file."
    fs, place = storage_of(path)
    if not fs.isfile(place):
        raise ConfigError("--segmentation", f"no file {path}", "a network's state", corrected(path, fix))
    data = fs.cat_file(place)
    state: Any
    try:
        if path.endswith(".safetensors"):
            state = tensors_of(data)
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):  # torchvision's script keeps its flags there
                state = loaded(data)
    except ValueError as error:
        found = f"{path}, which cannot be read as tensors alone ({error})"
        raise ConfigError("--segmentation", found, "a network's state", fix) from None
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(x, Tensor) for x in state.values()):
        raise ConfigError("--segmentation", f"{path}, which is no state", "tensors by name", fix)
    return {str(name).removeprefix("module."): x for name, x in state.items()}, data
