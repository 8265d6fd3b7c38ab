"""Read activations of named layers of trained networks, with gradients to the images: for perceptual losses.

x_BCHW are grey or RGB images in [-1, 1], as large as they are; grey is repeated to three channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from i2i_core.errors import ConfigError
from i2i_core.pretrained.backbones import as_rgb, read_efficientnet
from i2i_core.pretrained.segmentation import MEAN, STD
from i2i_core.pretrained.weights import Published

Convention = Literal["imagenet", "caffe", "plain"]
"""How images are prepared for a network. `imagenet`: RGB in [0, 1] minus ImageNet's mean, divided by its deviation
(torchvision's weights were trained so); `caffe`: BGR in [0, 255] minus the means CAFFE (the VGG authors' weights);
`plain`: RGB in [-1, 1] as it is."""
CAFFE = (103.939, 116.779, 123.68)
"""Means of B, G and R."""
FLAG = "--perceptual-weights"
SUBSTITUTE = "look through a network whose weights come as a package: --perceptual efficientnet_lite0"
VGG = {
    "vgg16": Published(
        "VGG16's ImageNet weights, as torchvision names them",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "397923af",
        FLAG,
        SUBSTITUTE,
    ),
    "vgg19": Published(
        "VGG19's ImageNet weights, as torchvision names them",
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "dcbb9e9d",
        FLAG,
        SUBSTITUTE,
    ),
}


class Frozen(nn.Module):
    """Hold a network that is never trained: always in evaluation mode, without gradients to its weights.

    It runs in its weights' precision, whatever autocast says.

    Attributes:
        facts: the network, the file and checksum of its weights, and how images are prepared for it.
    """

    facts: dict[str, Any]

    def __init__(self, network: nn.Module, facts: dict[str, Any]) -> None:
        super().__init__()
        self.network, self.facts = network.requires_grad_(False), facts
        self.train(False)

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode."""
        return super().train(False)

    @property
    def weight(self) -> Tensor:
        """One of the weights; its device and type are the network's."""
        return next(self.network.parameters())


class Features(Frozen):
    """Compute activations of named layers of a network that is a chain of modules.

    Args:
        network: the modules of the chain; those after the deepest layer in `layers` are dropped.
        after: by a module's number, the name of the layer that it ends.
        layers: names of the layers, in the order of the activations.
        convention: how images are prepared.

    Raises:
        ValueError: the network does not have a layer, or no layer is named.
    """

    def __init__(
        self,
        network: Sequence[nn.Module],
        after: dict[int, str],
        layers: Sequence[str],
        convention: Convention,
        facts: dict[str, Any],
    ) -> None:
        if convention not in get_args(Convention):
            raise ValueError(f"images as {convention!r}, not one of {', '.join(get_args(Convention))}")
        places = {name: number for number, name in after.items()}
        if not layers or (unknown := [name for name in layers if name not in places]):
            found = f"layers {', '.join(unknown)}" if layers else "no layers"
            raise ValueError(f"{found}, not of {', '.join(places)}")
        self.layers, self.after, self.convention = tuple(layers), after, convention
        deepest = max(places[name] for name in layers)
        facts = {**facts, "layers": list(layers), "images": convention, "resampling": "none"}
        facts["grey"] = "repeated to three channels"
        super().__init__(nn.Sequential(*network[: deepest + 1]), facts)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Compute the activations (n, C_l, H_l, W_l) of each layer, in the order of `layers`."""
        x, found = x_BCHW.to(self.weight), dict[str, Tensor]()
        with torch.autocast(x.device.type, enabled=False):
            x = prepared(as_rgb(x), self.convention)
            for number, link in enumerate(self.network.children()):
                x = link(x)
                if (name := self.after.get(number, "")) in self.layers:
                    found[name] = x
        return tuple(found[name] for name in self.layers)


def prepared(x_BCHW: Tensor, convention: Convention) -> Tensor:
    """Prepare RGB images in [-1, 1] by a convention."""
    if convention == "plain":
        return x_BCHW
    if convention == "caffe":
        return (x_BCHW.flip(1) + 1) * 127.5 - x_BCHW.new_tensor(CAFFE)[:, None, None]
    return ((x_BCHW + 1) / 2 - x_BCHW.new_tensor(MEAN)[:, None, None]) / x_BCHW.new_tensor(STD)[:, None, None]


def read_vgg(
    name: Literal["vgg16", "vgg19"], layers: Sequence[str], given: str = "", convention: Convention = "imagenet"
) -> Features:
    """Read VGG16 or VGG19 (Simonyan & Zisserman 2015): `relu1_1` to `relu5_3` (VGG19: `relu5_4`), `pool1` to `pool5`.

    Args:
        given: file of torchvision's tensors; none: the published one, fetched once.

    Raises:
        ConfigError: no weights, or a file of something else.
        ValueError: a layer that it does not have.
    """
    from torchvision import __version__, models  # late: seconds to import

    with torch.device("meta"):
        network: nn.Sequential = getattr(models, name)().features
    weights = VGG[name].read(given)
    network.to_empty(device="cpu")
    weights.load(network, {key: f"features.{key}" for key in network.state_dict()})
    facts = {"network": f"{name} (ImageNet) by torchvision {__version__}", **weights.facts}
    return Features([*network], _vgg_layers(network), layers, convention, facts)


def _vgg_layers(network: nn.Sequential) -> dict[int, str]:
    """Names of layers by their place. Convolutions have none: what follows them works in their memory."""
    names, block, conv = {}, 1, 0
    for place, module in enumerate(network):
        if isinstance(module, nn.ReLU):
            conv += 1
            names[place] = f"relu{block}_{conv}"
        elif isinstance(module, nn.MaxPool2d):
            names[place] = f"pool{block}"
            block, conv = block + 1, 0
    return names


def read_efficientnet_lite0(layers: Sequence[str]) -> Features:
    """Read EfficientNet-lite0 (ImageNet), from its package, which stands in where no VGG is to be had: `block0` to
    `block15`. It is given [-1, 1], the range that it was trained on.

    Raises:
        ConfigError: its packages are not installed.
        ValueError: a layer that it does not have.
    """
    network, facts = read_efficientnet("--perceptual", "the packages of efficientnet_lite0")
    stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
    after = {place: f"block{place - 1}" for place in range(1, len(network._blocks) + 1)}
    return Features([stem, *network._blocks], after, layers, "plain", facts)


def read_features(name: str, layers: Sequence[str], given: str = "", convention: Convention = "imagenet") -> Features:
    """Read the network of this name in READ.

    Args:
        given: file of the weights; none: the published file, or the package.
        convention: how images are prepared for a VGG; EfficientNet-lite0 has its own way.

    Raises:
        ConfigError: there are no weights, or the file holds something else; or a file is given for a network whose
            weights come as a package.
        ValueError: there is no such layer or network.
    """
    if name == "efficientnet_lite0" and given:
        expected = "no file: the weights of --perceptual efficientnet_lite0 come as a package"
        raise ConfigError(FLAG, given, expected, f"Leave {FLAG} out, or name the network of that file.")
    if name not in READ:
        raise ValueError(f"a network {name!r}, not one of {', '.join(READ)}")
    return READ[name](layers, given, convention)


READ: dict[str, Callable[[Sequence[str], str, Convention], Features]] = {
    "vgg16": lambda layers, given, convention: read_vgg("vgg16", layers, given, convention),
    "vgg19": lambda layers, given, convention: read_vgg("vgg19", layers, given, convention),
    "efficientnet_lite0": lambda layers, given, convention: read_efficientnet_lite0(layers),
}
