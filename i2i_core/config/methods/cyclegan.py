"""Declare the options and presets of CycleGAN; see methods/cyclegan.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2i_core.config.methods.unpaired import RECIPE, TINY, WEIGHTS, UnpairedConfig, check_comparable
from i2i_core.config.sections import register
from i2i_core.errors import ConfigError
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, check_choice, setting


@dataclass(frozen=True)
class CycleGANConfig(UnpairedConfig):
    """Choose CycleGAN's own hyper-parameters."""

    lambda_gan: float = setting(1.0)
    """Weight of the adversarial terms of G and F; 0 leaves the cycle terms alone, without discriminators (sec.
    5.1.4)."""
    lambda_cyc: float = setting(10.0)
    """Weight of the cycle-consistency terms (Eq. 3); 0 leaves the adversarial terms alone."""
    cycles: Literal["both", "forward", "backward"] = setting("both")
    """Cycles that count: forward, x -> G(x) -> F(G(x)); backward, y -> F(y) -> G(F(y)); or both (sec. 5.1.4)."""
    lambda_id: float = setting(0.5)
    """Weight of the identity terms, relative to lambda_cyc (sec. 5.2): 0.5 of 10 is a weight of 5. It keeps colours; 0
    leaves the terms out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "lambda_gan", "lambda_cyc", "lambda_id")
        check_choice(self, "cycles", ("both", "forward", "backward"))
        if self.lambda_id * self.lambda_cyc:
            check_comparable(self, "lambda_id", "G(y) needs images that both sides can be")
        if not self.lambda_gan and not self.lambda_cyc:
            found = "0, with --lambda-cyc 0"
            raise ConfigError("--lambda-gan", found, "at least one of them above 0", "Nothing would be learnt.")

    @property
    def plays(self) -> bool:
        """Return whether there are discriminators."""
        return self.lambda_gan > 0


PAPER = Preset(
    """The article: 256 px crops of images stretched to 286 px (`--fit square`), batch 1, Adam 2e-4 for 100 epochs and
    to 0 over another 100, least squares, lambda 10, pools of 50, 9 blocks, no identity term (the paper has it for
    paintings to photographs alone).

    Data: horse2zebra and its like, `shard.py --layout unpaired`. Command: `train.py --method cyclegan --preset paper
    --data URI`. Expected for Cityscapes label -> photo (article, table 2): FCN-score .52 per pixel, .17 per class, .11
    IoU; not measured here. Differs from `reference`: no identity term.""",
    {**RECIPE, "hyper.lambda_id": 0.0},
)
REFERENCE = Preset(
    """The authors' PyTorch program: as `paper`, with the identity term on (0.5 times lambda: weight 5). The learning
    rate falls as it did up to July 2020; since then that program is one epoch ahead, and its last epoch is at 0.

    Data and command as for `paper`, with `--preset reference`.""",
    RECIPE,
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs (regular <-> bold, no character in both): 32 px, 12 channels,
    2 blocks, batch 8, receptive field 16, learning rate 1e-3, averaged generators. Command: `make demo
    METHOD=cyclegan`. Score: docs/methods.md, which is measured.""",
    TINY,
    WEIGHTS,
)

register("cyclegan", CycleGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
