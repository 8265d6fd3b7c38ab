"""Declare how a run trains: length, batch, schedule, stages, and ways to run faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2i_core.config.fast import check_fast
from i2i_core.config.stages import Stage, parsed
from i2i_core.errors import ConfigError
from i2i_core.settings import MOST_SEED, Auto, check_at_least, check_between, check_choice, check_numbers, setting

MOST_BATCH = 1 << 20
"""Most samples of a global batch."""


@dataclass(frozen=True)
class TrainingConfig:
    """Choose length, batch, schedule and ways to run faster. Images are the unit of progress."""

    batch: int = setting(16, auto=True, most=MOST_BATCH)
    """GLOBAL batch: samples per move, over all workers together. auto finds the largest that fits the memory of every
    worker before the run starts, by trial on GPUs and by an estimate on CPUs; the run keeps it (docs/operations.md)."""
    images: int = setting(0, resume="free")
    """Length of the run in images; 0 leaves it to --epochs. A length from a flag or a file replaces the preset's, be it
    in images or epochs."""
    epochs: float = setting(0.0, resume="free")
    """Length of the run in epochs, passes over the data; 0 leaves it to --images."""
    micro_batch: int = setting(0, resume="free", most=MOST_BATCH)
    """Largest number of samples in one forward pass of a worker; larger parts of a batch are split, and their gradients
    accumulated. 0 sets no limit. Set it if memory runs out."""
    checkpoint_activations: bool = setting(False, resume="free")
    """Activation checkpointing: keep only the inputs of a generator's or encoder's blocks, and compute the rest again
    in the backward pass. It saves memory, costs one more forward pass, and changes no number (docs/performance.md)."""
    batch_norm: Literal["worker", "global"] = setting("worker")
    """Statistics of batch norm in training. worker takes each worker's part of the batch, or each of its micro-batches;
    global takes the whole batch over all workers, so that their number changes nothing, but workers then wait for each
    other at every batch norm."""
    fast: tuple[str, ...] = setting(("auto",), resume="free")
    """Ways to run faster, which change nothing but rounding (docs/performance.md). auto takes those that measured
    faster on such a device; off is plain eager fp32; or name some of bf16, channels_last, passes, compile, graphs,
    bf16_sums."""
    lr_schedule: Literal["constant", "linear", "epochs", "steps"] = setting("constant")
    """Learning-rate schedule. constant keeps the rate; linear lowers it from --lr-decay-from on, image by image; epochs
    does so epoch by epoch, as the pix2pix and CycleGAN program did up to July 2020 (since then that program is one
    epoch ahead); steps multiplies it by --lr-step-factor every --lr-step images."""
    lr_decay_from: float = setting(0.5)
    """Fraction of the run after which the learning rate falls (schedules linear and epochs)."""
    lr_final: float = setting(0.0)
    """Fraction of the learning rate that is left at the end of a linear fall."""
    lr_step: int = setting(100_000)
    """Images between two steps of --lr-schedule steps."""
    lr_step_factor: float = setting(0.5)
    """Factor of the learning rate at each of those steps."""
    ema_halflife: int = setting(0)
    """Half-life, in images, of the exponential moving average of the generators' weights; 0 keeps no average. A decay
    of 0.999 per move at batch 16 is a half-life of 11000."""
    clip_grad: float = setting(0.0)
    """Largest gradient norm of a player's move; larger gradients are scaled down to it. 0 clips nothing. Try 10 if a
    run ends in a non-finite move."""
    stages: tuple[str, ...] = setting(())
    """Stages of the run, in order, each one argument of KEY=VALUE words: "epochs=60 size=256" "frozen=G.trunk lr=0.5
    fresh" (docs/adding_a_method.md). All but the last have a length, epochs=E or images=N. size=S, load=S and frames=T
    set what is read; players=P,Q names the players that move, frozen=G,D.trunk the weights that do not; lr=FACTOR
    scales the learning rate; fresh resets the optimisers and runs the schedule over this stage alone."""
    seed: int = setting(0, most=MOST_SEED)
    """Seed of first weights, sample order, augmentation and noise."""
    init_from: str = setting("")
    """Start with the networks of this checkpoint or run, or of authors:FILE[,FILE], which the papers' own programs
    saved (docs/authors_weights.md). Optimisers and progress start anew; to resume a run, repeat its command instead."""
    init_parts: tuple[str, ...] = setting(())
    """Parts to take from --init-from: networks, or beginnings of layers' names (G, D.trunk). `fits`, alone or beside
    them, takes the layers whose tensors fit, for a checkpoint of other attributes or sizes. Without it, everything is
    taken and must fit."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 1, "lr_step", *(() if isinstance(self.batch, Auto) else ("batch",)))
        check_at_least(self, 0, "images", "epochs", "micro_batch", "ema_halflife", "clip_grad", "seed")
        check_between(self, 0, 1, "lr_decay_from", "lr_final", "lr_step_factor")
        check_choice(self, "batch_norm", ("worker", "global"))
        check_fast(self.fast)
        check_choice(self, "lr_schedule", ("constant", "linear", "epochs", "steps"))
        if self.init_parts and not self.init_from:
            found = f"{' '.join(self.init_parts)}, without --init-from"
            raise ConfigError("--init-parts", found, "something to take them of", "Give --init-from, or leave it out.")
        if self.images and self.epochs:
            found = f"{self.images:,}, beside --epochs {self.epochs:g}"
            raise ConfigError("--images", found, "one length", "Give --images or --epochs, not both.")
        parsed(self.stages)

    @property
    def parsed_stages(self) -> tuple[Stage, ...]:
        """Read the stages from their texts; () if the run has no stages."""
        return parsed(self.stages)

    def check_length(self) -> None:
        """Raise ConfigError if the run has no length."""
        if not self.images and not self.epochs:
            raise ConfigError("--images", "0, with --epochs 0", "a length", "Give --images N or --epochs N.")

    def length(self, images_per_epoch: int) -> int:
        """Return the run's length in images. Raise ConfigError if it has none."""
        self.check_length()
        return self.images or max(1, round(self.epochs * images_per_epoch))
