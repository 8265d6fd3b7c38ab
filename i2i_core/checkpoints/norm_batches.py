"""Count how many images shared a batch normalisation while a run trained.

A worker's part of a batch, or a micro-batch of it, goes through batch norm together; with --batch-norm global, the
whole batch does. A checkpoint keeps how many images of the run were normalised in parts of each size, so that the
networks can make images with the statistics that they were trained with.
"""

from __future__ import annotations

from collections import Counter

from i2i_core.config.run import TrainConfig
from i2i_core.data.reading.lanes import slots_of

NormBatches = dict[int, int]
"""Images seen, by how many of them shared a normalisation."""


def norm_batches_of_a_batch(config: TrainConfig, workers: int) -> NormBatches:
    """Count the images of one global batch by the size of the part in which each is normalised.

    Raises:
        ResourceError: more workers than slots.
    """
    training, sizes = config.training, Counter[int]()
    if training.batch_norm == "global":
        return {training.batch: training.batch}
    for rank in range(workers):
        start, stop = slots_of(training.batch, rank, workers)
        part = min(training.micro_batch or stop - start, stop - start)
        whole, rest = divmod(stop - start, part)
        sizes[part] += whole * part
        sizes[rest] += rest
    return {size: images for size, images in sorted(sizes.items()) if images}


def norm_batches_of_a_run(config: TrainConfig, images: int, workers: int) -> NormBatches:
    """Count the images of a run that had the same workers all along."""
    batch = norm_batches_of_a_batch(config, workers)
    return {size: count * images // config.training.batch for size, count in batch.items()}


def norm_batches_added(before: NormBatches, since: NormBatches) -> NormBatches:
    """Add up the counts of two parts of a run."""
    sums = {size: before.get(size, 0) + since.get(size, 0) for size in sorted({*before, *since})}
    return {size: images for size, images in sums.items() if images}
