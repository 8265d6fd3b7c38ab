"""Image files as arrays and back: decode, convert, crop, resize, encode.

Shape legend: every image is `x_HWC`, (height, width, channels), of dtype uint8, uint16 or float32
(float images hold values in [-1, 1]). Pillow does the work for 8-bit images; what Pillow would
quietly narrow to 8 bits (16-bit colour) takes another way or is refused, never narrowed.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from i2i_core.errors import ConfigError
from i2i_core.settings import check_at_least, check_between

Fit = Literal["square", "shorter"]
Resample = Literal["bicubic", "bilinear", "lanczos", "nearest", "area"]
Encoding = Literal["png", "jpg", "webp", "npy"]

EXTENSIONS = frozenset(
    [
        "png",
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "bmp",
        "gif",
        "webp",
        "tif",
        "tiff",
        "ppm",
        "pgm",
        "pbm",
        "pnm",
        "npy",
        "avif",
        "jp2",
        "tga",
    ]
)
"""What is taken for an image, by the end of its name in lower case."""

MAX_PIXELS = 89_478_485
"""Larger images (about 9459 x 9459) are refused: Pillow's own limit against decompression bombs."""

MAX_CHANNELS = 512
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
    """What happens to every image between its file and its shard, in the order of the fields."""

    keep_alpha: bool = False
    """Keep transparency as a fourth channel instead of laying it over --background."""
    background: str = "white"
    """The colour under transparent pixels: a name or #rrggbb."""
    channels: Literal[1, 3] | None = None
    """Convert every image to grey (1) or to RGB (3). Default: kept as they are."""
    center_crop: int | None = None
    """Cut this many pixels square out of the middle, before resizing (CelebA: 178)."""
    load_size: int | None = None
    """Resize to this many pixels. Default: sizes are kept."""
    fit: Fit = "square"
    """square: to load size x load size, whatever the shape (pix2pix, CycleGAN); shorter: the shorter side."""
    resample: Resample = "bicubic"
    """The resampling filter; area averages whole pixels."""
    encode: Encoding = "png"
    """How images are stored. png and npy are lossless; what png cannot hold (float, N channels) becomes npy."""
    quality: int = 95
    """Of jpg and webp, 1 to 100."""

    def __post_init__(self) -> None:
        check_between(self, 1, 100, "quality")
        if self.center_crop is not None:
            check_at_least(self, 1, "center_crop")
        if self.load_size is not None:
            check_between(self, 1, 9000, "load_size")
        if self.keep_alpha and self.channels is not None:
            fix = "Leave one of the two out."
            raise ConfigError("--keep-alpha", f"--channels {self.channels} beside it", "one of them", fix)
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            fix = "For example --background white, or --background '#808080'."
            raise ConfigError("--background", repr(self.background), "a colour name or #rrggbb", fix) from None

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        red, green, blue = ImageColor.getrgb(self.background)[:3]
        return red, green, blue


@dataclass(frozen=True)
class Picture:
    """A decoded image. `alpha`: the last channel is transparency."""

    pixels: np.ndarray
    """(H, W, C)."""
    alpha: bool = False


def decode(data: bytes, extension: str) -> np.ndarray:
    """The image in `data` as (H, W, C) uint8, uint16 or float32; turned as its EXIF tag says.

    Args:
        data: the bytes of a whole file.
        extension: the end of its name (`png`, `a.jpg`, ...); only `npy` is told from it.

    Raises:
        ValueError: saying why these bytes are no image, or none that can be used.
    """
    return decode_picture(data, extension).pixels


def decode_picture(data: bytes, extension: str) -> Picture:
    """As `decode`, and whether the last channel is transparency."""
    if not data:
        raise ValueError("the file is empty")
    try:
        if extension.rsplit(".", 1)[-1].lower() == "npy":
            return Picture(_from_npy(data))
        if _is_png_of_16_bit_colour(data):
            return _from_deep_png(data)
        return _from_pillow(data)
    except UnidentifiedImageError:  # its own message holds a memory address
        raise ValueError("cannot identify it as an image") from None
    except ValueError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds, SyntaxError and KeyError among them
        raise ValueError(f"{error or type(error).__name__}") from None


def _from_npy(data: bytes) -> np.ndarray:
    x = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(x, np.ndarray) or x.ndim not in (2, 3) or 0 in x.shape:
        raise ValueError(f"an array of shape {getattr(x, 'shape', None)}, not (H, W) or (H, W, C)")
    x = x[..., None] if x.ndim == 2 else x
    if x.shape[2] > MAX_CHANNELS:
        raise ValueError(f"an array of shape {x.shape}: {x.shape[2]} channels; the order must be (H, W, C)")
    _check_size(x.shape[1], x.shape[0])
    if x.dtype == np.bool_:
        return np.where(x, np.uint8(255), np.uint8(0))
    if np.issubdtype(x.dtype, np.floating):
        return x.astype(np.float32)
    if x.dtype.kind != "u" or x.dtype.itemsize > 2:
        raise ValueError(f"an array of {x.dtype}; images are uint8, uint16 or float")
    return np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("="))


def _is_png_of_16_bit_colour(data: bytes) -> bool:
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:25] == b"\x10" and data[25:26] in (b"\x02", b"\x04", b"\x06")


def _from_deep_png(data: bytes) -> Picture:
    """16-bit colour: Pillow would drop the lower 8 bits, torchvision keeps them."""
    import torch
    from torchvision.io import ImageReadMode, decode_png  # late: only such files cost the import

    _check_size(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    x_CHW = decode_png(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.UNCHANGED)
    x = np.ascontiguousarray(x_CHW.numpy().transpose(1, 2, 0))
    if x.dtype != np.uint16:
        raise ValueError("16-bit colour PNG, which the installed torchvision does not read; save it as .npy")
    return Picture(x, alpha=x.shape[2] in (2, 4))


def _from_pillow(data: bytes) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused by name just below
        image = Image.open(io.BytesIO(data))
    _check_size(*image.size)
    if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
        return Picture(_tiff_pages(image))
    if image.format == "TIFF" and len(image.getbands()) > 1 and max(image.tag_v2.get(258, (8,))) > 8:
        raise ValueError("16-bit colour TIFF, which Pillow would narrow to 8 bits; save it as PNG or .npy")
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return _array(image)


def _tiff_pages(image: Image.Image) -> np.ndarray:
    """A TIFF of several grey pages of one size is an image of as many channels."""
    pages = []
    for number in range(min(image.n_frames, MAX_CHANNELS + 1)):
        image.seek(number)
        image.load()
        pages.append(_array(image).pixels)
    shapes = sorted({f"{p.shape[0]}x{p.shape[1]}x{p.shape[2]} {p.dtype}" for p in pages})
    if len(pages) > MAX_CHANNELS or len(shapes) > 1 or pages[0].shape[2] != 1:
        raise ValueError(f"a TIFF of {image.n_frames} pages of {', '.join(shapes)}; pages must be grey, of one size")
    return np.concatenate(pages, axis=2)


def _array(image: Image.Image) -> Picture:
    mode = image.mode
    if mode.startswith("I;16"):
        return Picture(np.asarray(image).astype(np.uint16)[..., None])
    if mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"32-bit values from {values.min()} to {values.max()}; at most 16 bits can be kept")
        return Picture(values.astype(np.uint16)[..., None])
    if mode == "F":
        return Picture(np.asarray(image, dtype=np.float32)[..., None])
    alpha = image.has_transparency_data
    grey = mode in ("1", "L", "LA", "La")
    wanted = ("LA" if grey else "RGBA") if alpha else ("L" if grey else "RGB")
    x = np.array(image if mode == wanted else image.convert(wanted))
    return Picture(x[..., None] if x.ndim == 2 else x, alpha)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, over the limit of {MAX_PIXELS}; cut it into tiles first")


def prepare(picture: Picture, options: ImageOptions) -> np.ndarray:
    """A decoded image made ready to store: transparency, channels, crop, size.

    Raises:
        ValueError: this image cannot be converted or cropped as asked, or its values are out of range.
    """
    check_range(picture.pixels)
    if picture.alpha and not options.keep_alpha:
        picture = Picture(composite(picture.pixels, options.background_rgb))
    if options.channels is not None:
        picture = Picture(convert(picture.pixels, options.channels))
    if options.center_crop is not None:
        picture = Picture(center_crop(picture.pixels, options.center_crop), picture.alpha)
    if options.load_size is None:
        return picture.pixels
    height, width = fitted(picture.pixels.shape[0], picture.pixels.shape[1], options.load_size, options.fit)
    return resize(picture, height, width, options.resample)


def check_range(x_HWC: np.ndarray) -> None:
    """Raises ValueError if a float image leaves [-1, 1] or holds a NaN."""
    if x_HWC.dtype == np.float32 and not np.abs(x_HWC).max() <= 1:
        low, high = float(x_HWC.min()), float(x_HWC.max())
        raise ValueError(f"float values from {low:g} to {high:g}; float images must lie in [-1, 1]")


def composite(x_HWC: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Lays an image whose last channel is alpha over a colour (its luma for grey); that channel goes."""
    top = np.iinfo(x_HWC.dtype).max
    colour, alpha = x_HWC[..., :-1].astype(np.float64), x_HWC[..., -1:] / top
    below = np.array(background) * (top / 255)
    below = below if colour.shape[2] == 3 else (below @ LUMA)[None]
    return np.rint(colour * alpha + below * (1 - alpha)).astype(x_HWC.dtype)


def convert(x_HWC: np.ndarray, channels: int) -> np.ndarray:
    """Grey to RGB by repeating, RGB to grey by luma (ITU-R 601).

    Raises:
        ValueError: the image has neither 1 nor 3 channels.
    """
    have = x_HWC.shape[2]
    if have == channels:
        return x_HWC
    if have == 1:
        return np.repeat(x_HWC, channels, axis=2)
    if have != 3:
        raise ValueError(f"{have} channels; --channels converts between 1 and 3 only")
    grey = (x_HWC @ LUMA)[..., None]
    return (grey if x_HWC.dtype == np.float32 else np.rint(grey)).astype(x_HWC.dtype)


def center_crop(x_HWC: np.ndarray, size: int) -> np.ndarray:
    """The middle `size` x `size` pixels. Raises ValueError if the image is smaller."""
    height, width = x_HWC.shape[:2]
    if min(height, width) < size:
        raise ValueError(f"{width} x {height} pixels, smaller than --center-crop {size}")
    top, left = (height - size) // 2, (width - size) // 2
    return x_HWC[top : top + size, left : left + size]


def fitted(height: int, width: int, load_size: int | tuple[int, int], fit: Fit) -> tuple[int, int]:
    """(height, width) after resizing to the load size, a square's side or (height, width).

    `square` gives the load size itself; `shorter` keeps the image's shape and covers the load size, so that its
    shorter side, compared with the load size, is exactly that long.
    """
    rows, columns = (load_size, load_size) if isinstance(load_size, int) else load_size
    if fit == "square":
        return rows, columns
    scale = max(rows / height, columns / width)
    return max(rows, round(height * scale)), max(columns, round(width * scale))


def resize(picture: Picture, height: int, width: int, resample: Resample) -> np.ndarray:
    """Resized to (height, width, C), the dtype kept; 16-bit and float channels go through 32-bit floats."""
    x, how = picture.pixels, _FILTERS[resample]
    if x.shape[:2] == (height, width):
        return x
    if x.dtype == np.uint8 and (picture.alpha or x.shape[2] in (1, 3)):  # with alpha, Pillow premultiplies
        y = np.array(Image.fromarray(x[..., 0] if x.shape[2] == 1 else x).resize((width, height), how))
        return y[..., None] if y.ndim == 2 else y
    planes = [_resize_plane(x[..., c], height, width, how) for c in range(x.shape[2])]
    y = np.stack(planes, axis=2)
    if x.dtype == np.float32:
        return np.clip(y, -1, 1)
    return np.clip(np.rint(y), 0, np.iinfo(x.dtype).max).astype(x.dtype)


def _resize_plane(x_HW: np.ndarray, height: int, width: int, how: Image.Resampling) -> np.ndarray:
    plane = Image.fromarray(np.ascontiguousarray(x_HW, dtype=np.float32))
    return np.array(plane.resize((width, height), how))


def storage(x_HWC: np.ndarray, wanted: Encoding) -> Encoding:
    """The encoding for such an image: `wanted`, or `npy` where png was wanted and cannot hold it.

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
    """The bytes of a file holding the image; the same array always gives the same bytes."""
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
