"""Refine images, and judge their local patches: SimGAN's networks.

Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training", CVPR 2017,
sec. 3.1 (eye gaze) and 3.2 (hand pose).

Shapes: B batch, C channels, H height, W width; h, w the map of local patches.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from i2i_core.networks.shapes import Local


class RefinerBlock(nn.Module):
    """relu(x + conv3(relu(conv3(x)))), no norm (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.relu = nn.ReLU()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.relu(x_BCHW + self.second(self.relu(self.first(x_BCHW))))


class Refiner(nn.Module):
    """Refine images (B, C, H, W) of any size to the same shape in [-1, 1]: no stride, no pooling, no norm (Fig. 6).

    Args:
        first: side of the first convolution: 3 for eyes, 7 for hands.
        blocks: residual blocks: 4 for eyes, 10 for hands.

    Raises:
        ValueError: `first` is even: the image would grow.
    """

    blocks_to_checkpoint = ("net",)

    def __init__(self, channels: int = 1, base: int = 64, first: int = 3, blocks: int = 4) -> None:
        super().__init__()
        if first % 2 == 0:
            raise ValueError(f"a first convolution of side {first}, expected an odd number")
        self.net = nn.Sequential(
            nn.Conv2d(channels, base, first, padding=first // 2),
            nn.ReLU(inplace=True),
            *(RefinerBlock(base) for _ in range(blocks)),
            nn.Conv2d(base, channels, 1),
            nn.Tanh(),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.net(x_BCHW)


class LocalDiscriminator(nn.Module):
    """Judge each local patch: (B, C, H, W) -> logits (B, 1, h, w), larger where a patch is likelier real than refined.

    The paper's last layer has two channels, whose softmax is the probability of "refined" and of "real"; their
    difference is returned, the logit of that probability, so that a cross entropy on it is the paper's two-way one.

    Args:
        form: "eyes": conv3 s2 96, conv3 s2 64, maxpool3 s1, conv3 32, conv1 32, conv1 2. "hands": conv7 s4 96,
            conv5 s2 64, maxpool3 s2, conv3 s2 32, conv1 32, conv1 2.
        base: channels of the first layer; the others in the paper's proportion.

    Raises:
        ValueError: `base` is too small to divide by three.
    """

    def __init__(self, channels: int = 1, form: Local = "eyes", base: int = 96) -> None:
        super().__init__()
        if base < 3:
            raise ValueError(f"a local discriminator of {base} channels, expected at least 3")
        widths = [channels, base, base * 2 // 3, base // 3, base // 3]
        # side and stride of the convolutions; the pooling stands after the second
        sides, pool = ([(3, 2), (3, 2), (3, 1), (1, 1)], 1) if form == "eyes" else ([(7, 4), (5, 2), (3, 2), (1, 1)], 2)
        layers: list[nn.Module] = []
        for i, ((side, stride), (inputs, outputs)) in enumerate(zip(sides, pairwise(widths), strict=True)):
            layers += [nn.Conv2d(inputs, outputs, side, stride, side // 2), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(3, pool, 1)] if i == 1 else []
        self.net = nn.Sequential(*layers, nn.Conv2d(widths[-1], 2, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        refined, real = self.net(x_BCHW).unbind(dim=1)
        return (real - refined)[:, None]
