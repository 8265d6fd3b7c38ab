"""Bring the fields of a sample to the size that its images are stored at: `--center-crop`, then `--load-size`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from i2i_core.data.format.roles import MisfitError, Value, frame_of
from i2i_core.fields import PIXELS, Field
from i2i_core.images.codec import ImageOptions
from i2i_core.images.placement import Placement, moves_with_a_picture
from i2i_core.sizes import fitted


def loaded(values: Mapping[str, Value], fields: Mapping[str, Field], images: ImageOptions) -> dict[str, Value]:
    """Give every field but images as its role follows what `codec.prepare` does to images, which come as they are.

    Args:
        values: as they were read, images of any size.
        fields: what they are.

    Raises:
        MisfitError: a field that cannot be cut as its picture is.
    """
    if images.load_size is None and images.center_crop is None:
        return dict(values)
    return {name: _loaded(name, values, fields, images) for name in values}


def _loaded(name: str, values: Mapping[str, Value], fields: Mapping[str, Field], images: ImageOptions) -> Value:
    value, field = values[name], fields[name]
    if field.role == "image" or not moves_with_a_picture(field):
        return value
    picture = value if field.role in PIXELS else values[frame_of(name, fields)]
    assert isinstance(picture, np.ndarray)
    assert isinstance(value, np.ndarray)
    size = picture.shape[0], picture.shape[1]
    if images.center_crop is not None:
        _check_size(name, size, values, fields)
    for place in _places(name, size, images):
        value = _placed(place, value, field)
    return value


def _check_size(name: str, size: tuple[int, int], values: Mapping[str, Value], fields: Mapping[str, Field]) -> None:
    """Refuse a coarser or finer field where so many pixels are cut out of its picture."""
    for other, x in values.items():
        if fields[other].role == "image" and isinstance(x, np.ndarray) and x.shape[:2] != size:
            found = f"{size[0]}x{size[1]} pixels beside {other} of {x.shape[0]}x{x.shape[1]}"
            raise MisfitError(name, f"{name} of {found}, of which --center-crop cannot cut the same")


def _places(name: str, size: tuple[int, int], images: ImageOptions) -> list[Placement]:
    places = []
    if (crop := images.center_crop) is not None:
        if min(size) < crop:
            raise MisfitError(name, f"{name} of {size[1]} x {size[0]} pixels, smaller than --center-crop {crop}")
        places.append(Placement(size, size, (size[0] - crop) // 2, (size[1] - crop) // 2, (crop, crop), False))
        size = crop, crop
    if images.load_size is not None:
        box = fitted(*size, images.load_size, images.fit)
        places.append(Placement(size, box, 0, 0, box, False))
    return places


def _placed(place: Placement, value: Value, field: Field) -> Value:
    """Place a value as it is stored: whole numbers of a map are averaged as floats and rounded."""
    if field.role != "map" or not isinstance(value, np.ndarray) or value.dtype == np.float32:
        return place.other(value, field)
    moved = place.map(value.astype(np.float32), field)
    return np.rint(moved).astype(value.dtype)
