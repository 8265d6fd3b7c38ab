"""Turn image files into arrays and back: decode, convert, crop, resize, encode. Every image is opened here.

Shape legend: every image is `x_HWC`, (height, width, channels), of dtype uint8, uint16 or float32
(float images hold values in [-1, 1]). Pillow does the work for 8-bit images, on files that `formats.check` has looked
at; what Pillow would quietly narrow to 8 bits (16-bit colour) takes another way or is refused, never narrowed. No copy
of a whole image is made in a wider type than its own: that is done in strips of rows.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from i2i_core.errors import ConfigError, counted
from i2i_core.images import arrays, deep_png, dicom, heif
from i2i_core.images.formats import FORMATS, check, recognise
from i2i_core.images.limits import MAX_PIXELS, check_size
from i2i_core.images.strips import copy_rows, strips
from i2i_core.images.window import to_window
from i2i_core.settings import check_at_least, check_between, check_numbers, flag, setting
from i2i_core.sizes import MOST_SIDE, StoredFit, fitted

Resample = Literal["bicubic", "bilinear", "lanczos", "nearest", "area"]
Encoding = Literal["png", "jpg", "webp", "npy"]

EXTENSIONS = frozenset(extension for some in FORMATS.values() for extension in some)
"""Ends of names, in lower case, that mean an image. The content decides the format."""

WINDOW = "--window LOW HIGH of shard.py stores such values"
"""What to do about values that have no range of their own."""
MOST_VALUE = 1e30
FAINT = 64
"""Values below which those of a grey image may be ids."""

LUMA = np.array([0.299, 0.587, 0.114])

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
    "area": Image.Resampling.BOX,
}


@dataclass(frozen=True)
class ImageOptions:
    """Say what happens to every image between its file and its shard, in the order of the fields."""

    keep_alpha: bool = False
    """Keep transparency as a channel of its own instead of laying images over --background. With --channels, every
    image gets that channel, opaque where it had none."""
    background: str = "white"
    """The colour under transparent pixels: a name or #rrggbb."""
    channels: Literal[1, 3] | None = None
    """Convert every image to grey (1) or to RGB (3), transparency not counted. Default: kept as they are."""
    channels_b: Literal[1, 3] | None = None
    """The same for B's images alone, beside --channels, which then holds for A: pairs, ab and unpaired. Methods whose
    networks read both domains (unit, simgan) need the same in both. Default: as --channels."""
    window: tuple[float, ...] = setting((), most=MOST_VALUE)
    """Lowest and highest value to show, for what scanners write: TIFF of 16 and 32 bits, signed or not, floats, npy and
    DICOM. They are stored as 0 and 65535 of 16 bits, what lies beyond as one of the two. For CT, -1000 1000, say. 8-bit
    images are refused beside it. Default: a DICOM has the window that it names, others stay as they are."""
    window_a: tuple[float, ...] = setting((), most=MOST_VALUE)
    """The same for A's images alone, in place of --window: pairs and unpaired. 8-bit images of the other domain, photos
    say, become 16-bit ones of the same colours where both domains share a field (unpaired)."""
    window_b: tuple[float, ...] = setting((), most=MOST_VALUE)
    """The same for B's images alone."""
    center_crop: int | None = None
    """Side in pixels of the square to cut out of the middle, before resizing (CelebA: 178). Default: none is cut."""
    load_size: int | None = None
    """Side in pixels to resize to, as --fit says. Default: sizes are kept."""
    fit: StoredFit = "shorter"
    """Fit of --load-size: shorter resizes the shorter side to it and keeps the shape, and training cuts; square
    stretches both sides to it, which distorts images that are not square (pix2pix, CycleGAN)."""
    resample: Resample = "bicubic"
    """The resampling filter; area averages whole pixels."""
    encode: Encoding = "png"
    """Format in which images are stored. png and npy are lossless; what png cannot hold (float, N channels) becomes
    npy."""
    quality: int = 95
    """Quality of jpg and webp, 1 to 100; higher is larger and truer."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_between(self, 1, 100, "quality")
        if self.channels_b is not None and self.channels is None:
            fix = f"Give --channels for A as well: --channels 1 --channels-b {self.channels_b}, say."
            raise ConfigError("--channels-b", f"{self.channels_b} without --channels", "both", fix)
        if self.center_crop is not None:
            check_at_least(self, 1, "center_crop")
        if self.load_size is not None:
            check_between(self, 1, MOST_SIDE, "load_size")
        for name in ("window", "window_a", "window_b"):
            window = getattr(self, name)
            if window and not (len(window) == 2 and -MOST_VALUE <= window[0] < window[1]):
                found, fix = " ".join(f"{value:g}" for value in window), f"For example {flag(name)} -1000 1000."
                raise ConfigError(flag(name), found, "a value, and a larger one", fix)
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            fix = "For example --background white, or --background '#808080'."
            raise ConfigError("--background", repr(self.background), "a colour name or #rrggbb", fix) from None

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        """The background's red, green and blue, 0 to 255."""
        red, green, blue = ImageColor.getrgb(self.background)[:3]
        return red, green, blue

    def window_of(self, side: str) -> tuple[str, tuple[float, ...]]:
        """Give the flag and the window of the images of a side (`a` or `b`; another name: of all); () for none."""
        name = f"window_{side}" if side in ("a", "b") and getattr(self, f"window_{side}") else "window"
        return flag(name), getattr(self, name)

    @property
    def one_sided(self) -> bool:
        """Tell whether one side has a window of its own."""
        return bool(self.window_a or self.window_b)


@dataclass(frozen=True)
class Picture:
    """Hold a decoded image. `alpha`: the last channel is transparency."""

    pixels: np.ndarray
    """(H, W, C)."""
    alpha: bool = False
    indexed: bool = False
    """Its file holds numbers of colours in a palette, in a format that keeps them, as label maps do."""
    animated: bool = False
    """Its file holds more frames than this one."""

    @property
    def faint(self) -> bool:
        """Tell whether it is grey and darker than a quarter of white everywhere, but not black, as maps of ids are."""
        return self.pixels.dtype == np.uint8 and self.pixels.shape[2] == 1 and 0 < int(self.pixels.max()) < FAINT

    @property
    def transparent(self) -> bool:
        """Tell whether any pixel lets something through."""
        opaque = 1.0 if self.pixels.dtype == np.float32 else np.iinfo(self.pixels.dtype).max
        return self.alpha and bool((self.pixels[..., -1] < opaque).any())


def deepened(picture: Picture) -> Picture:
    """Bring an image of 8 bits to 16, black to black and white to white; others stay as they are."""
    x = picture.pixels
    return replace(picture, pixels=x.astype(np.uint16) * 257) if x.dtype == np.uint8 else picture


def decode(data: bytes, extension: str) -> np.ndarray:
    """Decode the image in `data` to (H, W, C) uint8, uint16 or float32; turned as its EXIF tag says.

    Of several frames (GIF, WebP, AVIF, animated PNG, MPO) the first is taken; a TIFF's grey pages become channels.

    Args:
        data: the bytes of a whole file. Their content tells the format.
        extension: the end of its name (`png`, `a.jpg`, ...); only `tga` is recognised by it.

    Raises:
        ValueError: saying why these bytes are no image, or none that can be used.
    """
    return decode_picture(data, extension).pixels


def decode_picture(data: bytes, extension: str) -> Picture:
    """Decode as `decode` does, and tell whether the last channel is transparency."""
    if not data:
        raise ValueError("the file is empty")
    kind = recognise(data, extension)
    with as_value_errors(kind):
        check(data, kind)
        if kind == "NPY":
            return Picture(_from_npy(data))
        if kind == "DICOM":
            return Picture(_from_dicom(data))
        if kind == "HEIF":
            heif.register()
        if deep_png.is_deep(data):
            pixels = deep_png.read(data)
            return Picture(pixels, alpha=pixels.shape[2] in (2, 4))
        return _from_pillow(data, kind)


@contextmanager
def as_value_errors(kind: str) -> Iterator[None]:
    """Turn whatever a decoder of a format raises into a ValueError that a person can read."""
    try:
        yield
    except UnidentifiedImageError:  # its own message holds a memory address
        raise ValueError(f"cannot identify it as an image, though it begins as {kind}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"over {2 * MAX_PIXELS} pixels; the limit is {MAX_PIXELS}; cut it into tiles first") from None
    except ValueError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds, SyntaxError and KeyError among them
        raise ValueError(f"{error or type(error).__name__}") from None


def _from_npy(data: bytes) -> np.ndarray:
    x = arrays.read_pixels(data)
    floating = np.issubdtype(x.dtype, np.floating)
    if x.dtype != np.bool_ and not floating and (x.dtype.kind != "u" or x.dtype.itemsize > 2):
        raise ValueError(f"an array of {x.dtype}; images are uint8, uint16 or float; {WINDOW}")
    check_size(x.shape[1], x.shape[0], x.shape[2], 4 if floating else x.dtype.itemsize)
    if x.dtype == np.bool_:
        return np.where(x, np.uint8(255), np.uint8(0))
    with np.errstate(over="ignore"):  # what becomes infinite is out of range, and refused as such
        return x.astype(np.float32 if floating else x.dtype.newbyteorder("="), order="C")


def _from_dicom(data: bytes) -> np.ndarray:
    """Read a DICOM in the window that it names; values of 8 bits stay as they are."""
    scan = dicom.read(data)
    if scan.values.dtype == np.uint8:
        return 255 - scan.values if scan.inverted else scan.values.copy()
    if scan.window is None:
        raise ValueError(f"a DICOM that names no window to show; {WINDOW}")
    return to_window(scan, *scan.window)


def opened(data: bytes, kind: str) -> Image.Image:
    """Open a picture that `formats.check` has looked at, of the format it told; nothing is decoded yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the caller refuses it by name
        return Image.open(io.BytesIO(data), formats=[kind])


def _from_pillow(data: bytes, kind: str) -> Picture:
    image = opened(data, kind)
    _check_image(image)
    indexed, animated = image.mode == "P" and kind in ("PNG", "TIFF", "BMP"), _is_animated(image)
    if kind == "TIFF" and getattr(image, "n_frames", 1) > 1:
        return Picture(_tiff_pages(image))
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    _check_image(image)
    return replace(_array(image), indexed=indexed, animated=animated)


def _is_animated(image: Image.Image) -> bool:
    """Tell whether a picture moves; the further pictures of an MPO are none of its own."""
    if image.format not in ("GIF", "WEBP", "AVIF", "PNG"):
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except (OSError, ValueError, SyntaxError, EOFError, IndexError):  # a GIF's second frame is damaged, not its first
        return False


def _tiff_pages(image: Image.Image) -> np.ndarray:
    """Read (H, W, pages) of a TIFF of several grey pages of one size, as `check` has found them to be."""
    pages, first = image.n_frames, _array(image).pixels
    check_size(first.shape[1], first.shape[0], pages, first.itemsize)
    x = np.empty((*first.shape[:2], pages), first.dtype)
    for number in range(pages):
        image.seek(number)
        image.load()
        page = _array(image).pixels
        if page.shape != first.shape or page.shape[2] != 1 or page.dtype != first.dtype:
            raise ValueError(f"a TIFF of {pages} pages that are not all grey, of one size and turned one way")
        x[..., number] = page[..., 0]
    return x


_GREY = ("1", "L", "LA", "La")


def _kept(image: Image.Image) -> tuple[str, int, np.dtype]:
    """Give the mode whose values are kept (empty: the image's own), their number in a pixel, and their type."""
    if image.mode.startswith("I"):
        return "", 1, np.dtype(np.uint16)
    if image.mode == "F":
        return "", 1, np.dtype(np.float32)
    mode = ("L" if image.mode in _GREY else "RGB") + "A" * image.has_transparency_data
    return mode, len(mode), np.dtype(np.uint8)


def _check_image(image: Image.Image) -> None:
    _, channels, dtype = _kept(image)
    check_size(image.width, image.height, channels, dtype.itemsize)


def _array(image: Image.Image) -> Picture:
    mode, channels, dtype = _kept(image)
    if image.mode == "I":
        low, high = image.getextrema()
        if low < 0 or high > 65535:
            raise ValueError(f"32-bit values from {low} to {high}; at most 16 bits can be kept; {WINDOW}")
    x = np.empty((image.height, image.width, channels), dtype)
    copy_rows(image, x, mode)
    return Picture(x, alpha=mode.endswith("A"))


def prepare(picture: Picture, options: ImageOptions, checked: bool = False) -> np.ndarray:
    """Make a decoded image ready to store: transparency, channels, crop, size.

    Args:
        checked: float values were found to lie in a range of their own.

    Raises:
        ValueError: this image cannot be converted or cropped as asked, or its values are out of range.
    """
    if not checked:
        check_range(picture.pixels)
    if picture.alpha and not options.keep_alpha:
        picture = Picture(composite(picture.pixels, options.background_rgb))
    if options.channels is not None:
        keeps, n = options.keep_alpha, options.channels
        picture = with_alpha(picture, n) if keeps else Picture(convert(picture.pixels, n))
    if options.center_crop is not None:
        picture = Picture(center_crop(picture.pixels, options.center_crop), picture.alpha)
    if options.load_size is None:
        return picture.pixels
    height, width = fitted(picture.pixels.shape[0], picture.pixels.shape[1], options.load_size, options.fit)
    try:
        check_size(width, height, picture.pixels.shape[2], picture.pixels.itemsize)
    except ValueError as error:
        raise ValueError(f"--load-size {options.load_size} makes it {error}") from None
    return resize(picture, height, width, options.resample)


def with_alpha(picture: Picture, channels: int) -> Picture:
    """Convert an image's colours to grey (1) or RGB (3), and give it transparency besides: its own, or none of it
    transparent. Raises as `convert`."""
    x_HWC = picture.pixels
    if picture.alpha:
        colours, alpha = x_HWC[..., :-1], x_HWC[..., -1:]
    else:
        opaque = 1.0 if x_HWC.dtype == np.float32 else np.iinfo(x_HWC.dtype).max
        colours, alpha = x_HWC, np.full((*x_HWC.shape[:2], 1), opaque, x_HWC.dtype)
    return Picture(np.concatenate([convert(colours, channels), alpha], axis=2), alpha=True)


def check_range(x_HWC: np.ndarray) -> None:
    """Check the values of a float image. Raises ValueError if it leaves [-1, 1] or holds a NaN."""
    if x_HWC.dtype != np.float32:
        return
    low, high = float(x_HWC.min()), float(x_HWC.max())
    if not (low >= -1 and high <= 1):  # nor is a NaN
        raise ValueError(f"float values from {low:g} to {high:g}; float images must lie in [-1, 1]; {WINDOW}")


def composite(x_HWC: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Lay an image whose last channel is alpha over a colour (its luma for grey), and drop that channel."""
    top = np.iinfo(x_HWC.dtype).max
    below = np.array(background) * (top / 255)
    below = below if x_HWC.shape[2] == 4 else (below @ LUMA)[None]
    y = np.empty((*x_HWC.shape[:2], x_HWC.shape[2] - 1), x_HWC.dtype)
    for rows in strips(x_HWC):
        colour, alpha = x_HWC[rows, :, :-1].astype(np.float64), x_HWC[rows, :, -1:] / top
        y[rows] = np.rint(colour * alpha + below * (1 - alpha))
    return y


def convert(x_HWC: np.ndarray, channels: int) -> np.ndarray:
    """Convert grey to RGB by repeating, RGB to grey by luma (ITU-R 601).

    Raises:
        ValueError: the image has neither 1 nor 3 channels.
    """
    have = x_HWC.shape[2]
    if have == channels:
        return x_HWC
    if have == 1:
        return np.repeat(x_HWC, channels, axis=2)
    if have != 3:
        raise ValueError(f"{counted(have, 'channel')}; --channels converts between 1 and 3 only")
    y = np.empty((*x_HWC.shape[:2], 1), x_HWC.dtype)
    for rows in strips(x_HWC):
        grey = x_HWC[rows] @ LUMA
        y[rows, :, 0] = grey if x_HWC.dtype == np.float32 else np.rint(grey)
    return y


def center_crop(x_HWC: np.ndarray, size: int) -> np.ndarray:
    """Cut out the middle `size` x `size` pixels. Raises ValueError if the image is smaller."""
    height, width = x_HWC.shape[:2]
    if min(height, width) < size:
        raise ValueError(f"{width} x {height} pixels, smaller than --center-crop {size}")
    top, left = (height - size) // 2, (width - size) // 2
    return x_HWC[top : top + size, left : left + size]


def resize(picture: Picture, height: int, width: int, resample: Resample) -> np.ndarray:
    """Resize to (height, width, C) and keep the dtype; 16-bit and float channels go through 32-bit floats."""
    x, how = picture.pixels, _FILTERS[resample]
    if x.shape[:2] == (height, width):
        return x
    if x.dtype == np.uint8 and (picture.alpha or x.shape[2] in (1, 3)):  # with alpha, Pillow premultiplies
        y = np.array(Image.fromarray(x[..., 0] if x.shape[2] == 1 else x).resize((width, height), how))
        return y[..., None] if y.ndim == 2 else y
    y = np.empty((height, width, x.shape[2]), x.dtype)
    low, high = (-1, 1) if x.dtype == np.float32 else (0, np.iinfo(x.dtype).max)
    for c in range(x.shape[2]):
        plane = _resize_plane(x[..., c], height, width, how)
        y[..., c] = np.clip(plane if x.dtype == np.float32 else np.rint(plane, out=plane), low, high, out=plane)
    return y


def _resize_plane(x_HW: np.ndarray, height: int, width: int, how: Image.Resampling) -> np.ndarray:
    plane = Image.new("F", (x_HW.shape[1], x_HW.shape[0]))
    for rows in strips(x_HW):
        plane.paste(Image.fromarray(np.ascontiguousarray(x_HW[rows], dtype=np.float32)), (0, rows.start))
    return np.array(plane.resize((width, height), how))


def storage(x_HWC: np.ndarray, wanted: Encoding) -> Encoding:
    """Choose the encoding for such an image: `wanted`, or `npy` where png was wanted and cannot hold it.

    Raises:
        ValueError: jpg or webp was wanted and cannot hold it.
    """
    channels, kind = x_HWC.shape[2], x_HWC.dtype
    held = {
        "png": (kind == np.uint8 and channels <= 4) or (kind == np.uint16 and channels == 1),
        "jpg": kind == np.uint8 and channels in (1, 3),
        "webp": kind == np.uint8 and channels in (3, 4),
        "npy": True,
    }
    if held[wanted]:
        return wanted
    if wanted == "png":
        return "npy"
    raise ValueError(f"{channels} channels of {kind}, which {wanted} cannot hold; use --encode png")


def encode(x_HWC: np.ndarray, extension: Encoding, quality: int = 95) -> bytes:
    """Encode an image as the bytes of a file; the same array always gives the same bytes."""
    out = io.BytesIO()
    if extension == "npy":
        np.save(out, np.ascontiguousarray(x_HWC), allow_pickle=False)
        return out.getvalue()
    image = Image.fromarray(x_HWC[..., 0] if x_HWC.shape[2] == 1 else np.ascontiguousarray(x_HWC))
    if extension == "png":
        image.save(out, "PNG")
    else:
        image.save(out, {"jpg": "JPEG", "webp": "WEBP"}[extension], quality=quality)
    return out.getvalue()
