"""Draw the built-in data set: characters of the DejaVu typefaces that ship inside matplotlib.

Twelve styles, {sans, serif, mono} x {regular, bold, oblique, bold oblique}, drawn by FreeType and
antialiased. All styles of one character are drawn at one scale, so bold is bolder and mono is
narrower, and each drawing is centred on its ink. The same arguments always give the same bytes.

A drawing is named by a source, `U+0041/serif-bold/fill`, or `.../outline`, `.../black` (never coloured), `.../ground`
(pale on a deep colour), `.../scan` (soft and grey), `.../fill.7` (moved, turned and reduced in one of many ways).
"""

from __future__ import annotations

import colorsys
import hashlib
import math
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from i2i_core.errors import ConfigError, nearest
from i2i_core.settings import check_at_least, check_between, check_numbers

ATTRIBUTES = ("serif", "bold", "oblique", "mono")

EM = 0.8
"""The em of most characters as a share of the image; large ones are drawn smaller, to fit."""
MARGIN = 0.0625
"""Paper left free on each side, as a share of the image."""
OUTLINE = 0.02
"""Width of an outline as a share of the image; never under one pixel."""
SOFT = 0.025
"""Blur of a scan, a share of the image's side."""
SCANNED = (205, 85)
"""Paper and ink of a scan."""
DIGITS = "0123456789"
"""Characters of `--glyphs classes`."""
COPIES = 40
"""Drawings of each digit in each style."""
TURN, SHIFT, REDUCED = 12.0, 0.06, 0.8
"""Most degrees that such a drawing is turned, most of the image's side that it is moved, and least size."""
CONTRAST = 4.5
"""The least contrast of ink to paper, as WCAG 2 counts it (21 is black on white)."""

_UNSEEN = ("Cc", "Cf", "Cn", "Co", "Cs", "Mn", "Me", "Zs", "Zl", "Zp")
_NO_STYLE = range(0x2500, 0x2600)
"""Box drawing, blocks and geometric shapes: the same drawing in every typeface."""
_BLANK = {0xFFFC}


@dataclass(frozen=True)
class Style:
    """Describe one of the twelve typefaces."""

    name: str
    file: str
    attributes: frozenset[str]

    @property
    def labels(self) -> tuple[int, ...]:
        """0 or 1 for each of ATTRIBUTES."""
        return tuple(int(name in self.attributes) for name in ATTRIBUTES)


def _style(family: str, bold: bool, oblique: bool) -> Style:
    slant = "Italic" if family == "serif" else "Oblique"
    stem = {"sans": "DejaVuSans", "serif": "DejaVuSerif", "mono": "DejaVuSansMono"}[family]
    suffix = ("Bold" if bold else "") + (slant if oblique else "")
    words = [word for word, wanted in (("bold", bold), ("oblique", oblique)) if wanted]
    name = "-".join([family, *(words or ["regular"])])
    return Style(name, stem + (f"-{suffix}" if suffix else "") + ".ttf", frozenset([family, *words]))


STYLES = {
    style.name: style
    for style in (
        _style(family, bold, oblique)
        for family in ("sans", "serif", "mono")
        for oblique in (False, True)
        for bold in (False, True)
    )
}


@dataclass(frozen=True)
class GlyphOptions:
    """Choose what the built-in data set shows, for --layout glyphs."""

    glyphs: Literal["labelled", "paired", "unpaired", "classes"] = "labelled"
    """labelled: every style, attributes serif bold oblique mono; paired: see --variant; unpaired: see --faces; classes:
    the ten digits, a class each, in every style and many positions."""
    variant: Literal["outline", "bold", "colour"] = "outline"
    """Pairs that are drawn, with --glyphs paired: outline to filled and coloured, regular to bold, or black on white to
    white on a colour, which the input does not tell."""
    faces: tuple[str, str] = ("sans-regular", "serif-regular")
    """Styles of A and of B, with --glyphs unpaired; no character of A's train split is in B's."""
    scanned: bool = False
    """Draw B as if scanned, soft and grey, with --glyphs unpaired."""
    styles: tuple[str, ...] = ()
    """Styles that are drawn, other than with --glyphs unpaired, such as sans-regular serif-bold; labels of attributes
    name what differs among them. Default: all."""
    size: int = 64
    """Width and height of an image, in pixels."""
    colour: bool = False
    """Draw in colour: a seeded ink and paper for each character (outlines always are)."""
    white_paper: bool = False
    """In colour, leave the paper white."""
    characters: int | None = None
    """Number of characters to draw, for a trial (of classes, of digits). Default: all."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_between(self, 8, 2048, "size")
        if self.characters is not None:
            check_at_least(self, 3, "characters")
        if self.scanned and self.colour:
            raise ConfigError("--scanned --colour", "both", "one of them: scans are grey", "Remove one.")
        for flag, names in (("--faces", self.faces), ("--styles", self.styles)):
            for name in names:
                if name not in STYLES:
                    raise ConfigError(flag, repr(name), "a style of the glyphs", nearest(name, STYLES))

    @property
    def in_colour(self) -> bool:
        """True where drawings have three channels."""
        return self.colour or (self.glyphs == "paired" and self.variant != "bold")


def _font_file(style: Style) -> Path:
    import matplotlib  # late: the drawing of other data sets does without it

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / style.file


@cache
def characters() -> tuple[str, ...]:
    """List the characters that every style can draw and that show a style, in order of their code points."""
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    common: set[int] | None = None
    for style in STYLES.values():
        with TTFont(_font_file(style), lazy=True) as font:
            codes = set(font.getBestCmap())
        common = codes if common is None else common & codes
    return tuple(chr(code) for code in sorted(common or ()) if _shows_style(code))


def _shows_style(code: int) -> bool:
    return unicodedata.category(chr(code)) not in _UNSEEN and code not in _NO_STYLE and code not in _BLANK


def source(character: str, style: str, drawing: str = "fill") -> str:
    """Name a drawing: `U+0041/serif-bold/fill`."""
    return f"U+{ord(character):04X}/{style}/{drawing}"


def render(name: str, size: int, colour: bool = False, seed: int = 0, white_paper: bool = False) -> np.ndarray:
    """Draw what a source names: (size, size, 1) uint8, dark on light, or (size, size, 3) in colour."""
    code, style, drawing = name.split("/")
    character = chr(int(code[2:], 16))
    if drawing == "scan":
        return scan(character, style, size)
    drawing, _, copy = drawing.partition(".")
    if copy:
        coverage_HW = moved(character, style, size, int(copy))
    else:
        coverage_HW = (outline if drawing == "outline" else fill)(character, style, size)
    if not colour:
        return 255 - coverage_HW[..., None]
    if drawing == "black":
        return np.repeat(255 - coverage_HW[..., None], 3, axis=2)
    if drawing == "ground":
        coverage_HW = 255 - coverage_HW
    return _blend(character, seed, white_paper)[coverage_HW]


@cache
def _blend(character: str, seed: int, white_paper: bool) -> np.ndarray:
    """Give the colour of a pixel by how much of it is ink: (256, 3) uint8."""
    ink, paper = colours(character, seed)
    paper = np.full(3, 255.0) if white_paper else paper
    return np.rint(paper + (ink - paper) * np.arange(256)[:, None] / 255).astype(np.uint8)


def fill(character: str, style: str, size: int) -> np.ndarray:
    """Draw how much of each pixel is ink: (size, size) uint8 from 0 to 255."""
    return _reduced(_drawn(character, style, size), size)


def moved(character: str, style: str, size: int, copy: int) -> np.ndarray:
    """Draw as `fill` does, turned about the middle, reduced and moved by as much as the copy's number says."""
    big, side = _drawn(character, style, size), size * _factor(size)
    digest = hashlib.sha256(f"copy {copy} {style} {ord(character)}".encode()).digest()
    angle, scale, across, down = np.frombuffer(digest[:16], dtype="<u4") / 2**32
    turn, scale = math.radians(TURN * (2 * angle - 1)), REDUCED + (1 - REDUCED) * scale
    cos, sin, middle = math.cos(turn) / scale, math.sin(turn) / scale, side / 2
    x, y = (middle + SHIFT * side * (2 * share - 1) for share in (across, down))
    back = (cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y)
    turned = Image.fromarray(big).transform((side, side), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    return _reduced(np.asarray(turned), size)


def outline(character: str, style: str, size: int) -> np.ndarray:
    """Draw the rim of the shape that `fill` draws; it lies inside the shape, pixel for pixel."""
    big = _drawn(character, style, size)
    return _reduced(big - _eroded(big, round(max(1.0, OUTLINE * size) * _factor(size))), size)


def scan(character: str, style: str, size: int) -> np.ndarray:
    """Draw as if printed and scanned, (size, size, 1) uint8: grey ink on grey paper, out of focus."""
    soft = Image.fromarray(fill(character, style, size)).filter(ImageFilter.GaussianBlur(SOFT * size))
    paper, ink = SCANNED
    return np.rint(paper + (ink - paper) * (np.asarray(soft) / 255)).astype(np.uint8)[..., None]


def _factor(size: int) -> int:
    """Glyphs are drawn this many times larger and averaged down."""
    return 4 if size <= 256 else 2


def _reduced(big_HW: np.ndarray, size: int) -> np.ndarray:
    return np.array(Image.fromarray(big_HW).reduce(big_HW.shape[0] // size))


@lru_cache(maxsize=4)  # an outline and its filled shape are asked for one after the other
def _drawn(character: str, style: str, size: int) -> np.ndarray:
    """Draw the character centred, (factor * size)^2 uint8, ink 255."""
    side = size * _factor(size)
    font = _font(style, _em(character, side))
    left, top, right, bottom = font.getbbox(character, anchor="ls")
    pad = side // 8  # the box is rounded: look for the ink a little around it
    room = Image.new("L", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad))
    ImageDraw.Draw(room).text((pad - left, pad - top), character, fill=255, font=font, anchor="ls")
    ink = room.crop(room.getbbox())
    canvas = Image.new("L", (side, side))
    canvas.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
    return np.array(canvas)


@cache
def _font(style: str, em: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_file(STYLES[style]), em, layout_engine=ImageFont.Layout.BASIC)


@cache
def _em(character: str, side: int) -> int:
    """Find the em in pixels at which every style of the character fits into the margins."""
    reference = 256
    boxes = [_font(style, reference).getbbox(character, anchor="ls") for style in STYLES]
    largest = max(max(right - left, bottom - top) for left, top, right, bottom in boxes)
    return int(min(EM * side, (1 - 2 * MARGIN) * side * reference / (largest + 2)))


def _eroded(x_HW: np.ndarray, radius: int) -> np.ndarray:
    """Take away a shape's rim of `radius` pixels (an octagon is moved around).

    The pixels at the border of the image count as paper.
    """
    for step in range(radius):
        rows = x_HW[1:-1]
        across = np.minimum(np.minimum(rows[:, :-2], rows[:, 2:]), rows[:, 1:-1])
        if step % 2:
            wide = np.minimum(np.minimum(x_HW[:, :-2], x_HW[:, 2:]), x_HW[:, 1:-1])
            down = np.minimum(wide[:-2], wide[2:])
        else:
            down = np.minimum(x_HW[:-2, 1:-1], x_HW[2:, 1:-1])
        eroded = np.zeros_like(x_HW)
        eroded[1:-1, 1:-1] = np.minimum(across, down)
        x_HW = eroded
    return x_HW


@cache
def colours(character: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ink and paper of a character, each (3,) from 0 to 255: a deep ink on a pale paper."""
    digest = hashlib.sha256(f"colour {seed} {ord(character)}".encode()).digest()
    u = np.frombuffer(digest[:24], dtype="<u4") / 2**32
    paper = _rgb(u[0], 0.86 + 0.10 * u[1], 0.25 + 0.45 * u[2])
    lightness = 0.30 + 0.20 * u[4]
    while _contrast(ink := _rgb(u[3], lightness, 0.65 + 0.3 * u[5]), paper) < CONTRAST:
        lightness *= 0.93
    return ink, paper


def _rgb(hue: float, lightness: float, saturation: float) -> np.ndarray:
    return np.rint(255 * np.array(colorsys.hls_to_rgb(hue, lightness, saturation)))


def _contrast(dark: np.ndarray, light: np.ndarray) -> float:
    return float((_luminance(light) + 0.05) / (_luminance(dark) + 0.05))


def _luminance(rgb: np.ndarray) -> float:
    """Relative luminance, WCAG 2."""
    c = rgb / 255
    return float(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ np.array([0.2126, 0.7152, 0.0722]))
