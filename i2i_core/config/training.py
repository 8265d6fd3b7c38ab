"""Say how a run trains: length, batch, schedule, and how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from i2i_core.config.fast import check_fast
from i2i_core.config.stages import Stage, parsed
from i2i_core.errors import ConfigError
from i2i_core.settings import Auto, check_at_least, check_between, check_choice, setting


@dataclass(frozen=True)
class TrainingConfig:
    """Set length, batch, schedule and ways to run faster. Progress is counted in images."""

    batch: int = setting(16, auto=True)
    """GLOBAL batch: samples per move over all workers together. auto: the largest that fits the memory of every worker,
    found before the run starts and kept by it: tried on GPUs, estimated on CPUs (docs/operations.md)."""
    images: int = setting(0, resume="free")
    """Length of the run in images served; 0: --epochs gives it. A length that is given takes the place of the
    preset's, whichever of the two that is."""
    epochs: float = setting(0.0, resume="free")
    """Length of the run in passes over the data; 0: --images gives it."""
    micro_batch: int = setting(0, resume="free")
    """Most samples in one forward pass of a worker; gradients of the parts are accumulated. 0: no limit."""
    checkpoint_activations: bool = setting(False, resume="free")
    """Keep only what goes into a generator's or encoder's blocks, and compute the rest again when gradients come back:
    less memory, for one more forward pass. It changes no number (docs/performance.md)."""
    batch_norm: Literal["worker", "global"] = setting("worker")
    """Take the statistics of batch norm in training of: worker, each worker's part of the batch (with --micro-batch,
    each part of that); global, the whole batch over all workers, so that their number changes nothing; workers then
    wait for each other at every batch norm."""
    fast: tuple[str, ...] = setting(("auto",), resume="free")
    """Ways to run faster that change nothing but rounding (docs/performance.md): auto, what has measured faster on such
    a device; off, plain eager fp32; or some of bf16, channels_last, passes, compile, graphs, bf16_sums."""
    lr_schedule: Literal["constant", "linear", "epochs", "steps"] = setting("constant")
    """Learning rate: kept; from --lr-decay-from on brought down image by image, or epoch by epoch (as pix2pix's and
    CycleGAN's program did up to July 2020; since then that one is an epoch ahead); or multiplied by --lr-step-factor
    every --lr-step images."""
    lr_decay_from: float = setting(0.5)
    """Share of the run after which the learning rate falls."""
    lr_final: float = setting(0.0)
    """Share of the learning rate that is left at the end of a linear fall."""
    lr_step: int = setting(100_000)
    """Images between the steps of --lr-schedule steps."""
    lr_step_factor: float = setting(0.5)
    """What the learning rate is multiplied by at each of those steps."""
    ema_halflife: int = setting(0)
    """Half-life of the moving average of the generators, images; 0: none (0.999 per move at batch 16 is 11000)."""
    clip_grad: float = setting(0.0)
    """Largest gradient norm of a player's move; 0: unbounded."""
    stages: tuple[str, ...] = setting(())
    """Stages that the run goes through, each one text of KEY=VALUE (docs/adding_a_method.md): "epochs=60 size=256"
    "frozen=G.trunk lr=0.5 fresh". All but the last have a length, epochs=E or images=N; size=S, load=S and frames=T say
    what is read, players=P,Q what moves, frozen=G,D.trunk what does not, lr=FACTOR how fast, and fresh has optimisers
    begin anew and the schedule run over the stage alone."""
    seed: int = setting(0)
    """Of first weights, order, augmentation and noise."""
    init_from: str = setting("")
    """Checkpoint whose networks the run starts from, or authors:FILE[,FILE] with what the papers' own programs saved
    (docs/authors_weights.md); optimisers and progress start anew."""
    init_parts: tuple[str, ...] = setting(())
    """What to take of --init-from: networks, or beginnings of layers' names (G, D.trunk). `fits`, alone or beside them:
    the layers whose tensors fit, where the checkpoint is of other attributes or sizes. None given: everything, which
    must fit."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "lr_step", *(() if isinstance(self.batch, Auto) else ("batch",)))
        check_at_least(self, 0, "images", "epochs", "micro_batch", "ema_halflife", "clip_grad", "seed")
        check_between(self, 0, 1, "lr_decay_from", "lr_final", "lr_step_factor")
        check_choice(self, "batch_norm", ("worker", "global"))
        check_fast(self.fast)
        check_choice(self, "lr_schedule", ("constant", "linear", "epochs", "steps"))
        if self.init_parts and not self.init_from:
            found = f"{' '.join(self.init_parts)}, without --init-from"
            raise ConfigError("--init-parts", found, "something to take them of", "Give --init-from, or leave it out.")
        if math.isinf(self.epochs):
            raise ConfigError("--epochs", "inf", "a number of passes", "Give --epochs N, or --images N.")
        if self.images and self.epochs:
            found = f"{self.images:,}, beside --epochs {self.epochs:g}"
            raise ConfigError("--images", found, "one length", "Give --images or --epochs, not both.")
        parsed(self.stages)

    @property
    def parsed_stages(self) -> tuple[Stage, ...]:
        """Read the texts of the stages; none: the run has no stages."""
        return parsed(self.stages)

    def check_length(self) -> None:
        """Raise ConfigError where the run has no length."""
        if not self.images and not self.epochs:
            raise ConfigError("--images", "0, with --epochs 0", "a length", "Give --images N or --epochs N.")

    def length(self, images_per_epoch: int) -> int:
        """Return the run's length in images. Raise ConfigError where there is none."""
        self.check_length()
        return self.images or max(1, round(self.epochs * images_per_epoch))
