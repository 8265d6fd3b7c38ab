"""Declare the options and presets of the conditional GAN; see methods/cgan.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2i_core.config.methods.checks import MOST_RATE, WIDEST, check_size
from i2i_core.config.methods.from_noise import FromNoiseConfig
from i2i_core.config.methods.gan import DECAY, SMALL
from i2i_core.config.sections import register
from i2i_core.fields import MOST_ATTRIBUTES
from i2i_core.labels import LabelKind, LabelSet
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, check_below, setting, size_setting
from i2i_core.sizes import Size


@dataclass(frozen=True)
class CGANConfig(FromNoiseConfig):
    """Choose the conditional GAN's own hyper-parameters."""

    image_size: Size = size_setting(28)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT. Both networks have weights for each
    pixel."""
    attributes: tuple[str, ...] = setting((), derived=True)
    """Names of the classes or attributes; taken from the data."""
    c_dim: int = setting(10, derived=True, most=MOST_ATTRIBUTES)
    """Number of classes or attributes; taken from the data."""
    labels: LabelKind = setting("classes", derived=True)
    """One class each, or independent attributes; taken from the data."""
    prior: Literal["normal", "uniform"] = setting("uniform")
    """Distribution of each number of a code: N(0, 1), or evenly from -1 to 1."""
    g_noise: Literal["shared", "own"] = setting("own")
    """Codes of G's move: shared takes D's last fakes; own draws others."""
    optimiser: Literal["adam", "rmsprop", "sgd"] = setting("sgd")
    """Optimiser of both players. The momentum of sgd is --beta1."""
    g_units: int = setting(1200, most=WIDEST)
    """Units of G's joint layer; a sixth as many read the code, and five sixths the labels."""
    d_units: int = setting(240, most=WIDEST)
    """Maxout units of D's layer of images and of its joint layer; the layer of labels has 5 for each 24 of them."""
    dropout: float = setting(0.5)
    """Share of the hidden units of both networks that is dropped in training."""
    lr: float = setting(0.1, most=MOST_RATE)
    """Learning rate of both players."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.image_size)
        check_at_least(self, 1, "c_dim", "g_units", "d_units")
        check_below(self, 1, "dropout")

    @property
    def label_set(self) -> LabelSet:
        """Return the labels of the data."""
        return LabelSet(self.attributes, tuple(range(self.c_dim)), self.labels == "classes", 0, self.c_dim, 0, 1)


FALLS = {**DECAY, "training.lr_step_factor": 1 / 1.00004, "training.epochs": 250.0}
PAPER = Preset(
    """Mirza & Osindero, "Conditional Generative Adversarial Nets" (2014, arXiv:1411.1784), sec. 4.1, MNIST: z 100
    uniform to 200 ReLU, the label to 1000, together to 1200, a sigmoid; D maxout 240 x 5 of the image and 50 x 5 of the
    label, then 240 x 4; dropout 0.5 in both, SGD 0.1 with momentum 0.5, batch 100.

    Data: MNIST, a folder a class, `shard.py --layout classes`. Command: `train.py --method cgan --preset paper --data
    URI`. The rate is divided by 1.00004 after each move. The article raises the momentum to 0.7 (0.5 here) and names no
    first weights (those of the first GAN's program here) and no length (250 epochs here, as that program's). It gives
    a log-likelihood by Parzen windows, which is not among the metrics here; not measured here.""",
    FALLS,
)
REFERENCE = Preset(
    """The authors released no program: the article's values, by Adam 2e-4 with beta1 0.5 in place of SGD, and the same
    codes for both players, as later programs train such networks.

    Data and command as for `paper`, with `--preset reference`.""",
    {
        **DECAY,
        "hyper.optimiser": "adam",
        "hyper.lr": 2e-4,
        "hyper.g_noise": "shared",
        "training.lr_schedule": "constant",
        "training.epochs": 250.0,
    },
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in digits, a class each: 32 px, 480 and 120 units, dropout in D as in G,
    Adam 5e-4, batch 64, averaged generator. Command: `make demo METHOD=cgan`. Score: not measured yet.""",
    {**SMALL, "hyper.g_units": 480, "hyper.d_units": 120},
    {"glyphs": "classes"},
)

register("cgan", CGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
