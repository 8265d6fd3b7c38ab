"""Decode images that strangers send: few formats, and none beyond a number of pixels, counted before it is inflated."""

from __future__ import annotations

import numpy as np

from i2i_core.fields import Field
from i2i_core.images.codec import Picture, as_value_errors, decode_picture, opened
from i2i_core.images.formats import check, recognise
from i2i_core.serving.refusing import Refused

TAKEN = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Formats that are taken: those that browsers and programs write, and whose decoders are the most used."""
KINDS = "PNG, JPEG, WebP, GIF or BMP"


def picture_of(data: bytes, field: str, most_pixels: int) -> Picture:
    """Decode an image.

    Args:
        field: field that it came in.

    Raises:
        Refused: 415 no image, or of another format; 413 too large; 422 damaged.
    """
    if not data:
        raise Refused(422, field, "an empty file", f"an image ({KINDS})", "Send the bytes of an image.")
    try:
        kind = recognise(data, "")
    except ValueError as error:
        raise Refused(415, field, f"a file of which one {error}", f"an image ({KINDS})", "Convert it.") from None
    if kind not in TAKEN:
        raise Refused(415, field, f"a file of the format {kind}", KINDS, "Convert it to PNG.")
    try:
        check(data, kind)
        with as_value_errors(kind), opened(data, kind) as image:
            width, height = image.size
    except ValueError as error:
        raise _damaged(field, error) from None
    if width * height > most_pixels:
        fix = "Resize it before you send it."
        raise Refused(413, field, f"{width} x {height} pixels", f"at most {most_pixels:,} pixels", fix)
    try:
        return decode_picture(data, "")
    except ValueError as error:
        raise _damaged(field, error) from None


def _damaged(field: str, error: ValueError) -> Refused:
    return Refused(422, field, f"an image that cannot be read: {error}", "a whole image", "Save it again, as PNG.")


def ids_of(picture: Picture, field: str, about: Field) -> np.ndarray:
    """Read the classes (H, W, 1) int64 of a label map: grey values are ids, colours those of its palette.

    Raises:
        Refused: 422 an id or a colour that is no class.
    """
    pixels = picture.pixels[..., :-1] if picture.alpha else picture.pixels
    if pixels.shape[2] == 1:
        ids = pixels.astype(np.int64)
        bad = ids[(ids >= about.classes) & (ids != (-1 if about.ignore is None else about.ignore))]
        if bad.size:
            expected = f"ids of classes, 0 to {about.classes - 1}"
            raise Refused(422, field, f"the id {int(bad[0])}", expected, "Send a label map of this model's classes.")
        return ids
    if not about.palette or pixels.dtype != np.uint8 or pixels.shape[2] != 3:
        expected = "a grey image whose values are ids of classes"
        raise Refused(422, field, "an image in colour", expected, "Send ids: this model's classes have no colours.")
    coded = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    ids = np.full(coded.shape, -1, np.int64)
    for number, (red, green, blue) in reversed([*enumerate(about.palette)]):
        ids[coded == (red << 16 | green << 8 | blue)] = number
    if (ids < 0).any():
        stranger = int(coded[ids < 0][0])
        fix = "Draw in the colours that /models lists, without smoothing, and save as PNG."
        raise Refused(422, field, f"the colour #{stranger:06x}", "colours of the model's palette alone", fix)
    return ids[..., None]
