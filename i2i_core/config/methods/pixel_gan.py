"""Declare the options and presets of pixel loss + GAN, SimGAN as a translator; see methods/pixel_gan.py."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.config.methods.unpaired import AT_128, TINY, WEIGHTS, ComparedConfig, check_comparable
from i2i_core.config.sections import register
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, setting


@dataclass(frozen=True)
class PixelGANConfig(ComparedConfig):
    """Choose the hyper-parameters of pixel loss + GAN."""

    lambda_l1: float = setting(10.0)
    """Weight of the distance between output and input; 0 leaves the adversarial term alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "lambda_l1")
        if self.lambda_l1:
            check_comparable(self, "lambda_l1", "G(a) - a needs images that both sides can be")


PAPER = Preset(
    """The system that CycleGAN's article calls SimGAN (in its first version: Pixel loss + GAN), at the size of its
    tables: CycleGAN's generator (6 blocks), discriminator and recipe, one direction, 128 px, L1 to the input with
    weight 10, D's objective halved. SimGAN proper is `--method simgan`, another system.

    Data: Cityscapes labels and photos (2,975 train, 500 val), `shard.py --layout unpaired`; the other way round with
    `--direction BtoA`. Command: `train.py --method pixel_gan --preset paper --data URI`. Expected (article, tables 2
    and 3; pixel, class, IoU): labels -> photo .20 .10 .04, photo -> labels .47 .11 .07, below CycleGAN's .52 .17 .11
    and .58 .22 .16; not measured here. The enlarging before the crop (143 px, as 286 is to 256) is ours. Differs from
    `reference`: D's objective is halved.""",
    AT_128,
)
REFERENCE = Preset(
    """The authors' Torch program (its model `content_gan` with the content `pixel`) as it was meant: as `paper`, with
    the discriminator's objective not halved, and D before G. Two defects of that program are not repeated: G's
    adversarial gradient reuses what D had computed for its own last move, with older weights and perhaps an image of
    the pool; and the learning rate never falls.

    Data and command as for `paper`, with `--preset reference`.""",
    {**AT_128, "hyper.halve_d": False},
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs of CycleGAN's demo, regular to bold, with its sizes, length and
    learning rate, so that the two can be compared. Command: `make demo METHOD=pixel_gan`. Score: docs/methods.md, which
    is measured.""",
    TINY,
    WEIGHTS,
)

register("pixel_gan", PixelGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
