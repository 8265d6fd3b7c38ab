"""Read uncompressed DICOM files, as scanners write them, with the package pydicom.

pydicom reads the tags, in pure Python, and nothing else of it is used: pixels are taken from their bytes here, after
their size was checked. Whatever would inflate or decode something before that is refused by its transfer syntax, which
is read first.
"""

from __future__ import annotations

import io
import struct
import warnings
from typing import Any

import numpy as np

from i2i_core.images.limits import check_size
from i2i_core.images.window import Scan

_PREAMBLE = 132
_LITTLE, _BIG = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"), "1.2.840.10008.1.2.2"
_SYNTAX = (2, 0x10)
_LONG = (b"OB", b"OW", b"UN", b"SQ", b"UT", b"OF")
"""Types of values whose length takes four bytes, after two that are not used."""
_TAGS = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept",
    "WindowCenter", "WindowWidth", "ModalityLUTSequence", "PixelData",
)  # fmt: skip


def read(data: bytes) -> Scan:
    """Read a DICOM file of one frame.

    Raises:
        ValueError: a package is missing, the file is compressed or damaged, or holds what is not read.
    """
    try:
        from pydicom import dcmread
    except ModuleNotFoundError:
        raise ValueError("a DICOM, which takes a package to read: pip install pydicom") from None
    syntax = _syntax(data)
    if syntax not in (*_LITTLE, _BIG):
        how = "gdcmconv --raw IN OUT, or pydicom's ds.decompress(), does that"
        raise ValueError(f"a compressed DICOM (transfer syntax {syntax}); decompress it first: {how}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values against the letter of the standard; what matters is checked here
        return _scan(dcmread(io.BytesIO(data), specific_tags=[*_TAGS]), ">" if syntax == _BIG else "<")


def _scan(tags: Any, order: str) -> Scan:
    if (frames := int(tags.get("NumberOfFrames") or 1)) != 1:
        raise ValueError(f"a DICOM of {frames} frames; save each as a file of its own")
    if "ModalityLUTSequence" in tags:
        raise ValueError("a DICOM whose values stand for others in a table, which is not read; save it as .npy")
    low_is_white = str(tags.PhotometricInterpretation) == "MONOCHROME1"
    slope, intercept = _first(tags, "RescaleSlope", 1), _first(tags, "RescaleIntercept", 0)
    return Scan(_values(tags, order), slope, intercept, _window(tags), low_is_white)


def _syntax(data: bytes) -> str:
    """Read how the file is encoded from the elements at its beginning, which are always encoded alike."""
    at = _PREAMBLE
    while at + 8 <= len(data):
        group, element, kind, size = struct.unpack_from("<HH2sH", data, at)
        at += 8
        if group != 2:
            break
        if kind in _LONG:
            (size,) = struct.unpack_from("<I", data, at)
            at += 4
        if (group, element) == _SYNTAX:
            return data[at : at + min(size, 64)].rstrip(b"\0 ").decode("ascii", "replace")
        at += size
    raise ValueError("a DICOM that does not say how it is encoded")


def _values(tags: Any, order: str) -> np.ndarray:
    """Take the values out of the bytes of the pixels, without the bits that are not theirs."""
    height, width, channels = int(tags.Rows), int(tags.Columns), int(tags.get("SamplesPerPixel") or 1)
    colours, bits = str(tags.PhotometricInterpretation), int(tags.BitsAllocated)
    if colours not in ("MONOCHROME1", "MONOCHROME2", "RGB") or channels != (3 if colours == "RGB" else 1):
        raise ValueError(f"a DICOM of {channels} channels of {colours}; grey and RGB are read")
    if bits not in (8, 16, 32) or min(height, width) < 1:
        raise ValueError(f"a DICOM of {width} x {height} pixels of {bits} bits; 8, 16 and 32 are read")
    check_size(width, height, channels, bits // 8)
    signed, held = bool(tags.get("PixelRepresentation")), int(tags.get("BitsStored") or bits)
    if not 0 < held <= bits or int(tags.get("HighBit", held - 1)) != held - 1:
        raise ValueError(f"a DICOM of {held} of {bits} bits, which are not the lowest ones")
    count = height * width * channels
    stored = bytes(tags.PixelData)
    if len(stored) not in (count * bits // 8, count * bits // 8 + 1):  # an odd length is filled up
        raise ValueError(f"a DICOM of {width} x {height} pixels in {len(stored)} bytes, which are {count * bits // 8}")
    x = np.frombuffer(stored, np.dtype(f"{order}{'i' if signed else 'u'}{bits // 8}"), count)
    if int(tags.get("PlanarConfiguration") or 0) and channels > 1:
        x = x.reshape(channels, height, width).transpose(1, 2, 0)
    x = x.reshape(height, width, channels)
    if held < bits:  # the bits above may hold overlays: they go out at the top, and the sign comes down from there
        x = x << (bits - held)
        x >>= bits - held
    return x


def _window(tags: Any) -> tuple[float, float] | None:
    """Give the lowest and the highest value to show (PS3.3, C.11.2.1.2), of several windows the first."""
    if tags.get("WindowCenter") is None or tags.get("WindowWidth") is None:
        return None
    centre, width = _first(tags, "WindowCenter", 0), _first(tags, "WindowWidth", 1)
    if not (width > 1 and np.isfinite([centre, width]).all()):
        return None
    low = centre - 0.5 - (width - 1) / 2
    return low, low + width - 1


def _first(tags: Any, name: str, default: float) -> float:
    value = tags.get(name)
    if value is None:
        return default
    return float(value if isinstance(value, str | int | float) else next(iter(value), default))
