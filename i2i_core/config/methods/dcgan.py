"""Declare the options and presets of DCGAN, and of the recipes of WGAN and WGAN-GP; see methods/dcgan.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from i2i_core.config.methods.checks import WIDEST, check_pyramid
from i2i_core.config.methods.from_noise import FromNoiseConfig
from i2i_core.config.methods.game import check_critic_norm
from i2i_core.config.sections import register
from i2i_core.networks.shapes import CriticNorm, GeneratorNorm
from i2i_core.registry import Preset
from i2i_core.settings import check_at_least, check_choice, setting, size_setting
from i2i_core.sizes import Size

Network = Literal["dcgan", "mlp"]


@dataclass(frozen=True)
class DCGANConfig(FromNoiseConfig):
    """Choose DCGAN's own hyper-parameters."""

    image_size: Size = size_setting(64)
    """Size of training images in pixels: a number for squares, or WIDTHxHEIGHT; the shorter side is a power of two from
    8 on. Each doubling adds a layer with twice the channels to both networks."""
    generator: Network = setting("dcgan")
    """Generator: dcgan, or mlp, three hidden layers of 512 units without a tanh at the end (WGAN, sec. 4.3)."""
    discriminator: Network = setting("dcgan")
    """Discriminator: dcgan, or mlp, three hidden layers of 512 units."""
    g_base: int = setting(64, most=WIDEST)
    """Channels of G's last layer before the image; each layer before it has twice as many."""
    d_base: int = setting(64, most=WIDEST)
    """Channels of D's first layer; each layer after it has twice as many."""
    kernel: int = setting(4)
    """Side of all kernels: 5, the article's, whose G begins with a linear layer and a norm per unit; or 4, that of the
    PyTorch examples, whose G begins with a transposed convolution."""
    g_norm: GeneratorNorm = setting("batch")
    """Norm of the generator; none is one of WGAN's tests of stability."""
    d_norm: CriticNorm = setting("batch")
    """Norm of the discriminator: batch, layer (each sample by itself, WGAN-GP), or none."""
    biases: bool = setting(False)
    """Give all layers of both networks biases, as WGAN-GP's program for 32 px does."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "g_base", "d_base")
        check_choice(self, "generator", get_args(Network))
        check_choice(self, "discriminator", get_args(Network))
        check_choice(self, "kernel", (4, 5))
        check_choice(self, "g_norm", get_args(GeneratorNorm))
        check_choice(self, "d_norm", get_args(CriticNorm))
        check_pyramid(self.image_size)
        if self.discriminator == "dcgan":
            check_critic_norm(self, self.d_norm, "--d-norm", "layer")


SHARED: dict[str, Any] = {
    "training.batch_norm": "global",
    "data.flip": False,
    "data.crop": "center",
    "evaluation.metrics": ("efficientnet_frechet",),
}
PAPER = Preset(
    """The article and its authors' program for faces at 64 px: z 100 uniform, 5x5 kernels, G 1024-512-256-128 after a
    linear layer, D 128-256-512-1024, batch norm, batch 128, Adam 2e-4 with beta1 0.5, 25 epochs.

    Data: a folder of images, `shard.py --layout images`. Command: `train.py --method dcgan --preset paper --data URI`.
    The article measures features for classification, and shows samples; not measured here. As in all presets, batch
    norm's statistics are of the whole batch over all workers (`--batch-norm global`), and running ones when images are
    made; the authors' program takes the batch's own there too, moves G first, on another batch than D, has 1e-8 for
    batch norm's epsilon, and an L2 penalty of 1e-5 that the article does not mention. Differs from `reference`:
    kernels, widths, prior and batch.""",
    {
        **SHARED,
        "hyper.kernel": 5,
        "hyper.g_base": 128,
        "hyper.d_base": 128,
        "hyper.prior": "uniform",
        "training.batch": 128,
        "training.epochs": 25.0,
    },
)
REFERENCE = Preset(
    """The DCGAN of the PyTorch examples, which most people mean by the name: z 100 from N(0, 1), 4x4 kernels without
    biases, G 512-256-128-64, D 64-128-256-512, weights from N(0, 0.02), batch 64, Adam 2e-4 with beta1 0.5, 25 epochs.
    D's losses on real images and fakes are added, and G then moves on the same fakes.

    Data: a folder of images, `shard.py --layout images`. Command: `train.py --method dcgan --preset reference --data
    URI`. Not measured here. `--image-size 32`, `128` and `256` take a layer away or add some.""",
    {**SHARED, "training.batch": 64, "training.epochs": 25.0},
)
CRITIC = {**SHARED, "hyper.n_critic": 5, "hyper.g_noise": "own", "training.batch": 64}
CLIPPED = {
    **CRITIC,
    "hyper.adversarial": "wgan",
    "hyper.optimiser": "rmsprop",
    "hyper.lr": 5e-5,
    "hyper.burst": 100,
    "training.images": 70_000_000,
    "monitoring.log_every": 64_000,
    "monitoring.grid_every": 1_000_000,
    "monitoring.checkpoint_every": 2_000_000,
}
WGAN = Preset(
    """Arjovsky et al., "Wasserstein GAN" (ICML 2017, arXiv:1701.07875), Alg. 1: the networks of `reference`, a critic
    in place of D, RMSProp 5e-5, weights clipped to 0.01 after each of its moves, n_critic 5, batch 64, other codes for
    G's move. The critic moves 100 times for each of G's first 25 moves and at every 500th, which is in the authors'
    program and not in Alg. 1 (`--burst 0`).

    Data: a folder of images, `shard.py --layout images`. Command: `train.py --method dcgan --preset wgan --data URI`,
    with `--g-norm none` or `--generator mlp` for the article's tests of stability. `gap` is the distance that the
    critic estimates, and falls as samples improve (the article smooths it by a median over 101 values). 70 million
    images are about 200,000 moves of G (the article names no length). Not measured here.""",
    CLIPPED,
)
WGAN_REFERENCE = Preset(
    """WGAN's program: as `wgan`, but the critic's weights are clipped before each of its moves, so that G moves against
    weights that have moved once since. Data and command as for `wgan`, with `--preset wgan_reference`. (In that program
    a loop of the critic also ends with an epoch, and a short last batch meets a full batch of noise; here all batches
    are full.)""",
    {**CLIPPED, "hyper.clip_at": "before"},
)
PENALISED = {
    **CRITIC,
    "hyper.adversarial": "wgan-gp",
    "hyper.z_dim": 128,
    "hyper.lr": 1e-4,
    "hyper.beta1": 0.0,
    "hyper.beta2": 0.9,
    "training.images": 64_000_000,
    "monitoring.log_every": 64_000,
    "monitoring.grid_every": 1_000_000,
    "monitoring.checkpoint_every": 2_000_000,
}
WGAN_GP = Preset(
    """Gulrajani et al., "Improved Training of Wasserstein GANs" (NIPS 2017, arXiv:1704.00028), Alg. 1, on DCGAN's
    networks at 64 px: lambda 10, n_critic 5, Adam 1e-4 with betas (0, 0.9), no batch norm in the critic but layer norm
    (sec. 4), z 128, batch 64, 200,000 moves of G.

    Data: a folder of images, `shard.py --layout images`. Command: `train.py --method dcgan --preset wgan_gp --data
    URI`. Not measured here. The article's residual networks are not among this method's.""",
    {**PENALISED, "hyper.d_norm": "layer"},
)
WGAN_GP_REFERENCE = Preset(
    """WGAN-GP's program for 32 px (CIFAR-10): 5x5 kernels, 128 channels at the ends, G with batch norm after a linear
    layer, a critic without any norm, biases in all layers, betas (0.5, 0.9). The program draws its first weights by He
    et al.; here they are DCGAN's.

    Data and command as for `wgan_gp`, with `--preset wgan_gp_reference`.""",
    {
        **PENALISED,
        "hyper.image_size": 32,
        "hyper.kernel": 5,
        "hyper.g_base": 128,
        "hyper.d_base": 128,
        "hyper.d_norm": "none",
        "hyper.biases": True,
        "hyper.beta1": 0.5,
    },
)
SMALL: dict[str, Any] = {
    **SHARED,
    "hyper.image_size": 32,
    "hyper.g_base": 32,
    "hyper.d_base": 32,
    "training.batch": 32,
    "training.ema_halflife": 1_000,
    "data.crop": "none",
    "data.loaders": 0,
    "monitoring.evaluate_samples": 0,
    "monitoring.grid_every": 10_000,
    "monitoring.checkpoint_every": 10_000,
}
DIGITS = {"glyphs": "classes"}
DEMO = Preset(
    """Minutes on two CPU cores, on the built-in digits (glyphs): 32 px, half of the channels, batch 32, averaged
    generator. Command: `make demo METHOD=dcgan`. Score: not measured yet.""",
    {**SMALL, "training.images": 160_000},
    DIGITS,
)

register(
    "dcgan",
    DCGANConfig,
    {
        "paper": PAPER,
        "reference": REFERENCE,
        "wgan": WGAN,
        "wgan_reference": WGAN_REFERENCE,
        "wgan_gp": WGAN_GP,
        "wgan_gp_reference": WGAN_GP_REFERENCE,
        "demo": DEMO,
    },
)
