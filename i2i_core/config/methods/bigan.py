"""Declare the options and presets of BiGAN/ALI as a translator; see methods/bigan.py."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.config.methods.unpaired import AT_128, TINY, WEIGHTS, ComparedConfig
from i2i_core.config.sections import register
from i2i_core.registry import Preset


@dataclass(frozen=True)
class BiGANConfig(ComparedConfig):
    """Choose the hyper-parameters of BiGAN/ALI as a translator."""


PAPER = Preset(
    """The system that CycleGAN's article calls BiGAN/ALI, at the size of its tables: CycleGAN's networks (6 blocks) and
    recipe, 128 px, one discriminator of pairs, which sees both kinds through a pool of 50 each, D's objective halved.
    Nothing but D ties an output to its input.

    Data: Cityscapes labels and photos (2,975 train, 500 val), `shard.py --layout unpaired`. Command: `train.py --method
    bigan --preset paper --data URI`. Expected (article, tables 2 and 3; pixel, class, IoU): labels -> photo .19 .06
    .02, photo -> labels .41 .13 .07, far below CycleGAN's .52 .17 .11 and .58 .22 .16; not measured here. The enlarging
    before the crop (143 px, as 286 is to 256) is ours. Differs from `reference`: D's objective is halved.""",
    AT_128,
)
REFERENCE = Preset(
    """The authors' Torch program (its model `bigan`): as `paper`, with the discriminator's objective not halved: that
    program halves the printed value alone. Its pools give their first image 50 times over while they fill, a slip that
    is not repeated here; its instance norms have scale and shift, those here have none, as in the PyTorch program.

    Data and command as for `paper`, with `--preset reference`.""",
    {**AT_128, "hyper.halve_d": False},
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs of CycleGAN's demo, with its sizes, length and learning rate, so
    that the two can be compared. Command: `make demo METHOD=bigan`. Score: docs/methods.md, which is measured.""",
    TINY,
    WEIGHTS,
)

register("bigan", BiGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
