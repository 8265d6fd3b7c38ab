"""Declare the options and presets of feature loss + GAN; see methods/feature_gan.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2i_core.config.methods.perceptual import PerceptualConfig
from i2i_core.config.methods.unpaired import AT_128, TINY, WEIGHTS, ComparedConfig, check_comparable
from i2i_core.config.sections import register
from i2i_core.errors import ConfigError
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, setting


@dataclass(frozen=True)
class FeatureGANConfig(ComparedConfig, PerceptualConfig):
    """Choose the hyper-parameters of feature loss + GAN."""

    lambda_perceptual: float = setting(10.0)
    """Weight of the distance between output and input in the features of a trained network; 0 leaves the adversarial
    term alone and reads no network."""
    perceptual_input: Literal["imagenet", "caffe", "plain"] = setting("caffe")
    """Form of the images that a VGG gets, which must be that of its training: caffe (BGR from 0 to 255, minus means)
    for the VGG authors' weights and those trained like them; imagenet for torchvision's weights; plain for values in
    [-1, 1]."""
    perceptual_size: int = setting(224, most=4096)
    """Side in pixels to which images are resized, bilinear, before the trained network sees them; 0 leaves them as they
    are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "perceptual_size")
        if not self.lambda_perceptual:
            return
        check_comparable(self, "lambda_perceptual", "features of G(a) and a need images that both sides can be")
        if self.in_channels not in (1, 3):
            found, expected = f"{self.lambda_perceptual}, with {self.in_channels} channels", "grey images, or RGB"
            fix = "Shard the images again with --channels 3, or give --lambda-perceptual 0."
            raise ConfigError("--lambda-perceptual", found, expected, fix)
        if 0 < self.perceptual_size < 16:
            found, fix = str(self.perceptual_size), "Give --perceptual-size 224, as in the article, or 0."
            raise ConfigError("--perceptual-size", found, "at least 16, which the layer sees at 1/8", fix)


PAPER = Preset(
    """The system that CycleGAN's article calls Feature loss + GAN, at the size of its tables, and computed as the
    article says: CycleGAN's generator (6 blocks), discriminator and recipe, one direction, 128 px, and with weight 10
    the mean absolute difference between relu4_2 of VGG-16 for the output and for the input, both resized to 224 px.

    The weights are a file that you give: `--perceptual-weights FILE`, Simonyan's VGG-16 with torchvision's names; the
    order of channels belongs to it (`--perceptual-input caffe`: BGR). With torchvision's own weights give
    `--perceptual-input imagenet`; they are fetched. Data: Cityscapes labels and photos (2,975 train, 500 val),
    `shard.py --layout unpaired`. Command: `train.py --method feature_gan --preset paper --data URI --perceptual-weights
    FILE`. Expected (article, tables 2 and 3; pixel, class, IoU): labels -> photo .06 .04 .01, photo -> labels .50 .10
    .06; not measured here, and not to be expected: those rows may come from the program described under `reference`.
    The enlarging before the crop (143 px, as 286 is to 256) is ours. Differs from `reference`: D's objective is
    halved.""",
    AT_128,
)
REFERENCE = Preset(
    """The authors' Torch program (its model `content_gan` with the content `vgg`) as it was meant: as `paper`, with the
    discriminator's objective not halved, and D before G.

    Its defects are not repeated. The feature term's gradient is divided by 127.5 where it must be multiplied, so that
    it is 1/16,256 of what the printed weight promises; it is taken at the activations of the input; G's adversarial
    gradient reuses what D had computed for its own last move; the learning rate never falls. So that program is nearly
    a GAN alone, and the article's rows, labels -> photo .06 .04 .01, may be such a program's (`--lambda-perceptual 0`
    is the nearest to it here). Its script fetches a VGG-16 trained on Places365, where the article cites Simonyan's
    weights; either is a file that you give.

    Data and command as for `paper`, with `--preset reference`.""",
    {**AT_128, "hyper.halve_d": False},
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs of CycleGAN's demo, regular to bold, with its sizes, length and
    learning rate, so that the two can be compared. It does not look through a VGG: block 4 of EfficientNet-lite0 (1/8
    of the sides, as relu4_2), whose weights come as a package, sees the images at 64 px. Its features have another
    scale, and a weight of 1 in place of 10, with which hardly anything changes. Command: `make demo
    METHOD=feature_gan`. Score: docs/methods.md, which is measured.""",
    {
        **TINY,
        "hyper.lambda_perceptual": 1.0,
        "hyper.perceptual": "efficientnet_lite0",
        "hyper.perceptual_size": 64,
    },
    WEIGHTS,
)

register("feature_gan", FeatureGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
