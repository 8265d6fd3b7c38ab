"""Declare the options and presets of StarGAN; see methods/stargan.py."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_core.config.methods.checks import DEEPEST, MOST_HALVINGS, MOST_MOVES, MOST_RATE, WIDEST, check_multiple
from i2i_core.config.methods.game import GameConfig
from i2i_core.config.sections import register
from i2i_core.errors import ConfigError
from i2i_core.fields import MOST_ATTRIBUTES, MOST_CHANNELS
from i2i_core.labels import LabelKind, LabelSet
from i2i_core.losses.formulations import Formulation
from i2i_core.networks.shapes import Upsample
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, check_positive, setting, size_setting
from i2i_core.sizes import Size


@dataclass(frozen=True)
class StarGANConfig(GameConfig):
    """Choose StarGAN's own hyper-parameters."""

    adversarial: Formulation = setting("wgan-gp")
    """Adversarial terms; the paper has those of WGAN with gradient penalty, wgan-gp (Eq. 8)."""
    image_size: Size = size_setting(128)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT; multiples of 2^d_layers. More shows
    finer detail and takes more memory and time."""
    channels: int = setting(3, derived=True, most=MOST_CHANNELS)
    """Image channels; taken from the data."""
    attributes: tuple[str, ...] = setting(())
    """Attributes (or classes) of the data to translate between, out of those of all data sets; without it, all of them.
    Images of a class that is left out count as of no class."""
    c_dim: int = setting(5, derived=True, most=MOST_ATTRIBUTES)
    """Number of attributes of all data sets together; taken from the data."""
    labels: LabelKind = setting("attributes", derived=True)
    """Independent attributes (CelebA) or one class each (RaFD), of a single data set; taken from the data."""
    columns: tuple[int, ...] = setting((), derived=True)
    """Columns of the chosen attributes in the labels of their data set; taken from the data."""
    sizes: tuple[int, ...] = setting((), derived=True, resume="free")
    """Number of attributes of each data set, if there are several; taken from the data."""
    kinds: tuple[LabelKind, ...] = setting((), derived=True, resume="free")
    """Kind of labels of each data set, if there are several; taken from the data."""
    g_base: int = setting(64, most=WIDEST)
    """Channels of G's first layer."""
    d_base: int = setting(64, most=WIDEST)
    """Channels of D's first layer."""
    blocks: int = setting(6, most=DEEPEST)
    """Residual blocks of G."""
    d_layers: int = setting(6, most=MOST_HALVINGS)
    """Stride-2 convolutions of D."""
    upsample: Upsample = setting("transposed")
    """Layer with which G doubles the image; resize and shuffle avoid the checkerboard pattern of transposed."""
    lambda_cls: float = setting(1.0)
    """Weight of the domain classification losses (Eq. 5, 6)."""
    lambda_rec: float = setting(10.0)
    """Weight of the reconstruction loss (Eq. 4)."""
    lambda_id: float = setting(0.0)
    """Weight of an identity term ||G(x, c) - x||_1 (CycleGAN, sec. 5.2), which the paper does not have. The
    reconstruction loss accepts any change that G can undo, and small networks find one that trades glyph for glyph;
    raise this weight if translations show another object."""
    n_critic: int = setting(5, most=MOST_MOVES)
    """Moves of D per move of G, each on a fresh batch. With several data sets, D moves this often on each set, and G
    moves on the set right after D's last move there."""
    g_lr: float = setting(1e-4, most=MOST_RATE)
    """Learning rate of G."""
    d_lr: float = setting(1e-4, most=MOST_RATE)
    """Learning rate of D."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "channels", "c_dim", "g_base", "d_base", "blocks", "d_layers", "n_critic")
        check_at_least(self, 0, "lambda_cls", "lambda_rec", "lambda_id")
        check_positive(self, "g_lr", "d_lr")
        check_multiple(self.image_size, 2**self.d_layers, "StarGAN's discriminator")
        check_multiple(self.image_size, 4, "StarGAN's generator")
        if len(set(self.attributes)) < len(self.attributes):
            raise ConfigError("--attributes", " ".join(self.attributes), "each name once", "Remove the repeated name.")
        if self.sizes and (len(self.sizes) < 2 or len(self.kinds) != len(self.sizes) or sum(self.sizes) != self.c_dim):
            found = f"sizes {self.sizes} and kinds {self.kinds} with c_dim {self.c_dim}"
            expected = "a size and a kind for each of several data sets, and sizes that sum to c_dim"
            raise ConfigError("sizes", found, expected, "They come from the data: take the file as train.py wrote it.")

    @property
    def sets(self) -> tuple[LabelSet, ...]:
        """Return the labels of each data set, in the order of the sets' numbers."""
        sizes, kinds = self.sizes or (self.c_dim,), self.kinds or (self.labels,)
        starts = [sum(sizes[:number]) for number in range(len(sizes))]
        return tuple(
            LabelSet(
                names=self.attributes[start : start + size],
                columns=self.columns[start : start + size] or tuple(range(size)),
                exclusive=kind == "classes",
                start=start,
                total=self.c_dim,
                number=number,
                sets=len(sizes),
            )
            for number, (start, size, kind) in enumerate(zip(starts, sizes, kinds, strict=True))
        )

    @property
    def g_labels(self) -> int:
        """Return the length of G's label vector: all labels, and the mask if there are several data sets."""
        return self.c_dim + len(self.sizes)


PAPER = Preset(
    """The article: 128 px, batch 16, Adam 1e-4 for the first half of 20 epochs, falling to 0 over
    the second, 5 critic moves per generator move, lambda_cls 1, lambda_rec 10, lambda_gp 10.

    Data: CelebA, `shard.py --layout celeba --center-crop 178 --load-size 128 --resample bilinear --attributes
    Black_Hair Blond_Hair Brown_Hair Male Young`, resized as the authors' program does. (Images stored at another size
    are resized in training, bilinear too.) Command: `train.py --method stargan --preset paper --data URI`. The authors
    give about a day on one GPU of 2017; not measured here. CelebA and RaFD at once (sec. 3.2): `--also URI` with RaFD,
    `shard.py --layout classes`. The article says that the sets take turns, and not when G moves; its authors' program,
    the only evidence there is, lets G follow D on a set before D goes on to the next, and so do both presets.
    Differs from `reference`: there, the learning rate hardly falls.""",
    {
        "training.batch": 16,
        "training.epochs": 20.0,
        "training.lr_schedule": "linear",
        "data.flip": True,
        "data.crop": "none",
        "data.resample": "bilinear",
    },
)
REFERENCE = Preset(
    """The authors' program: as `paper`, but 200,000 critic moves (3.2 million images), and a decay that
    takes 1e-3 of what it meant to take, so that the learning rate ends at 0.999 of its start. Its instance norm
    also keeps running statistics that it never uses; ours has none.

    Data and command as for `paper`, with `--preset reference`. Of two data sets each of its 200,000 iterations takes a
    batch of both, and every fifth one moves D and G on the first, then D and G on the second: `--images 6400000`. (Its
    first release, of 2017, moved on both at once.)""",
    {
        "training.batch": 16,
        "training.images": 3_200_000,
        "training.lr_schedule": "linear",
        "training.lr_final": 0.999,
        "data.flip": True,
        "data.crop": "none",
        "data.resample": "bilinear",
    },
)
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in glyphs: 32 px, 24 channels, 2 residual blocks, batch 16, 2 critic
    moves per generator move, learning rate 5e-4, an identity term, averaged generator. Command: `make demo`, which
    trains it for 11,000 images. Score: see the README, which is measured.""",
    {
        "hyper.image_size": 32,
        "hyper.g_base": 24,
        "hyper.d_base": 24,
        "hyper.d_layers": 4,
        "hyper.lambda_id": 10.0,
        "hyper.blocks": 2,
        "hyper.n_critic": 2,
        "hyper.g_lr": 5e-4,
        "hyper.d_lr": 5e-4,
        "training.batch": 16,
        "training.images": 11_000,
        "training.lr_schedule": "linear",
        "training.ema_halflife": 500,
        "data.flip": False,
        "data.crop": "none",
        "data.loaders": 0,
        "monitoring.grid_every": 2_500,
        "monitoring.checkpoint_every": 2_500,
    },
    {"styles": ("sans-regular", "sans-bold", "serif-regular", "serif-bold")},
)

register("stargan", StarGANConfig, {"paper": PAPER, "reference": REFERENCE, "demo": DEMO})
