"""The options and presets of a method to copy; see methods/template.py.

Not registered, since config/methods/__init__.py does not import it: the copy is, by one line there.
"""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.config.methods.checks import DEEPEST, MOST_HALVINGS, MOST_RATE, WIDEST, check_multiple
from i2i_core.config.methods.game import GameConfig
from i2i_core.config.sections import register
from i2i_core.fields import MOST_CHANNELS
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, check_positive, setting, size_setting
from i2i_core.sizes import Size


# 1. What can be set. Every field is a flag of train.py, and the docstring below it is the flag's help. `derived` fields
#    are filled in by `fit` from the data and have no flag. GameConfig brings the adversarial terms and the optimiser.
@dataclass(frozen=True)
class TemplateConfig(GameConfig):
    """Choose the method's own hyper-parameters."""

    image_size: Size = size_setting(128)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT; multiples of 4. More shows finer detail
    and takes more memory and time."""
    in_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of a; taken from the data."""
    out_channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Channels of b; taken from the data."""
    lambda_l1: float = setting(10.0)
    """Weight of the L1 term."""
    base: int = setting(64, most=WIDEST)
    """Channels of the first layer of both networks."""
    blocks: int = setting(6, most=DEEPEST)
    """Residual blocks of G."""
    d_layers: int = setting(2, most=MOST_HALVINGS)
    """Stride-2 layers of D."""
    lr: float = setting(2e-4, most=MOST_RATE)
    """Learning rate of both players."""

    # Refuse every wrong value here, before any work starts; errors.py says what a message holds.
    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "in_channels", "out_channels", "base", "blocks", "d_layers")
        check_at_least(self, 0, "lambda_l1")
        check_positive(self, "lr")
        check_multiple(self.image_size, 4, "the generator")


# 2. Named values. Keys are dotted: hyper (the class above), training, data, monitoring. The text gives the command, the
#    data, what to expect, and where paper and authors' code part ways.
PAPER = Preset(
    """The article's figures. Data: pairs, `shard.py --layout ab`. Command: `train.py --method NAME --preset paper
    --data URI`. Expected: the paper's score, or that it was not measured here.""",
    {"training.batch": 1, "training.epochs": 200.0, "data.load_size": 142},
)
REFERENCE = Preset("""The authors' code, as far as it differs. Data and command as for `paper`.""", PAPER.values)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs. Command: `train.py --method NAME --preset demo`.""",
    {
        "hyper.image_size": 32,
        "hyper.base": 12,
        "hyper.blocks": 2,
        "hyper.lr": 1e-3,
        "training.batch": 8,
        "training.images": 4_000,
        "data.flip": False,
        "data.crop": "none",
        "data.loaders": 0,
        "monitoring.grid_every": 2_000,
        "monitoring.checkpoint_every": 2_000,
    },
)

# 3. The name is what --method takes.
register("template", TemplateConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
