"""Compute the learning-rate schedule as a pure function of images seen."""

from __future__ import annotations

from i2i_core.config.training import TrainingConfig


def lr_factor(config: TrainingConfig, images: int, images_per_epoch: int) -> float:
    """Return the factor of the learning rate after `images`.

    `epochs` is the rule of the pix2pix and CycleGAN programs up to July 2020,
    `1 - max(0, epoch + 1 - n_epochs) / (n_epochs_decay + 1)`, the epochs counted from 0: the articles' schedule. Since
    then that program steps the schedule before an epoch in place of after it: it is one epoch ahead of this rule, and
    trains its last epoch at a rate of 0.
    """
    if config.lr_schedule == "steps":
        return config.lr_step_factor ** (images // config.lr_step)
    length = config.length(images_per_epoch)
    kept = config.lr_decay_from * length
    if config.lr_schedule == "constant" or (config.lr_schedule == "linear" and images <= kept):
        return 1.0
    if config.lr_schedule == "linear":
        fallen = min(1.0, (images - kept) / (length - kept)) if length > kept else 1.0
        return 1.0 - (1.0 - config.lr_final) * fallen
    epoch, n_epochs = images // images_per_epoch, kept / images_per_epoch
    n_epochs_decay = (length - kept) / images_per_epoch
    return max(0.0, 1 - max(0.0, epoch + 1 - n_epochs) / (n_epochs_decay + 1))
