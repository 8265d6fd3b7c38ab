"""Bring the values of scanners (signed, of 32 bits, floats, DICOM) into a window and to 16 bits.

Such values have no range of their own that could be taken for black and white, so somebody has to say one: `--window`,
or the file.
"""

from __future__ import annotations

import numpy as np

from i2i_core.images import dicom
from i2i_core.images.codec import as_value_errors
from i2i_core.images.exact import KEEPING, read_exact
from i2i_core.images.formats import recognise
from i2i_core.images.window import Scan, to_window


class ShallowError(ValueError):
    """Tell of an image whose values need no window."""


def read_windowed(data: bytes, extension: str, low: float, high: float) -> np.ndarray:
    """Read an image and bring its values to 16 bits: `low` and below become 0, `high` and above 65535.

    Args:
        data: the bytes of a whole file.
        extension: the end of its name.

    Returns:
        (H, W, C) uint16.

    Raises:
        ShallowError: an image of 8 bits.
        ValueError: as `read_exact` and `dicom.read`, or a value that is NaN.
    """
    if not data:
        raise ValueError("the file is empty")
    kind = recognise(data, extension)
    if kind not in (*KEEPING, "DICOM", "JPEG2000", "PPM"):
        raise ShallowError(f"values of 8 bits in a {kind}")
    with as_value_errors(kind):
        scan = dicom.read(data) if kind == "DICOM" else Scan(read_exact(data, extension))
    if scan.values.dtype.itemsize == 1:
        raise ShallowError("values of 8 bits")
    return to_window(scan, low, high)
