"""Store images that differ in colour or transparency alone with the channels that hold all of them.

Folders of people hold a few grey images among coloured ones, or one without transparency. A grey image loses nothing as
colour, nor an opaque one with an opaque channel; the other way round both would lose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from i2i_core.fields import Field
from i2i_core.images.codec import ImageOptions, Picture

Channels = Mapping[str, int]
"""Channels to store, by field: 1 grey, 2 grey and transparency, 3 colours, 4 colours and transparency."""
Pictures = Mapping[str, Picture]
"""Images of a sample, by field."""


class MixedError(Exception):
    """Stop writing a shard whose images differ in channels: it is written anew with `channels`."""

    def __init__(self, channels: Channels) -> None:
        super().__init__(channels)
        self.channels = channels


def own(picture: Picture, options: ImageOptions) -> int:
    """Count the channels that an image would be stored with by itself."""
    return picture.pixels.shape[2] - (picture.alpha and not options.keep_alpha)


def holding(found: set[int]) -> int:
    """Choose the channels that hold images of all these."""
    return (3 if found & {3, 4} else 1) + bool(found & {2, 4})


def _may_differ(options: ImageOptions) -> set[int]:
    """List the channels that images may have and be stored together; none where --channels was given."""
    if options.channels is not None:
        return set()
    return {1, 2, 3, 4} if options.keep_alpha else {1, 3}


def check_channels(sample: Pictures, before: Channels, chosen: Channels, options: ImageOptions) -> None:
    """Check that the images of a sample can be stored beside those before it.

    Args:
        before: channels of the samples before, by field.
        chosen: channels that are stored whatever the images have.

    Raises:
        MixedError: other channels hold this sample too.
    """
    more: dict[str, int] = {}
    for name, picture in sample.items():
        found = {own(picture, options), chosen.get(name, before.get(name, own(picture, options)))}
        if len(found) > 1 and found <= _may_differ(options) and picture.pixels.dtype == np.uint8:
            more[name] = holding(found)
    if any(chosen.get(name) != channels for name, channels in more.items()):
        raise MixedError({**chosen, **more})


def holding_all(shards: Sequence[Mapping[str, Field]], options: ImageOptions) -> dict[str, int]:
    """Choose channels, by field, for shards whose images differ in channels alone; {} where nothing is to be chosen."""
    chosen: dict[str, int] = {}
    for name in shards[0] if shards else ():
        forms = {(f.role, f.dtype, f.extension, f.shape) for f in (fields[name] for fields in shards)}
        found = {fields[name].channels for fields in shards}
        if len(forms) > 1 or (len(found) > 1 and not found <= _may_differ(options)):
            return {}
        if len(found) > 1 and all(form[:2] == ("image", "uint8") for form in forms):
            chosen[name] = holding(found)
    return chosen


def stored_with(options: ImageOptions, channels: int) -> ImageOptions:
    """Give the options that store an image with so many channels."""
    return replace(options, channels=3 if channels > 2 else 1, keep_alpha=channels in (2, 4))
