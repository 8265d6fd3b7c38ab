"""Choose the codes z of the outputs: how many outputs each input has, and which code each of them gets.

z_NZ codes of N images, of length Z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from i2i_core.errors import ConfigError, DataError
from i2i_core.methods.base import Direction, Method, sides
from i2i_core.methods.controls import Examples
from i2i_core.storage.paths import absolute
from i2i_core.translation.inputs import Inputs, Split, open_images
from i2i_core.translation.loading import AS_IT_IS, Loading, loaded

TRUTH = "truth"
"""Value of --like that reads each image's code off its own truth."""

Code = tuple[float, ...]
Path = Literal["line", "circle"]
"""The way from one code to another."""


@dataclass(frozen=True)
class Codes:
    """Give a code z_NZ for each output of N images. Subclasses say where codes come from."""

    titles: tuple[str, ...]
    """Title of each output, in order."""
    numbered: ClassVar[bool] = True
    """True: outputs are called NAME-0, NAME-1, ...; false: there is one output, NAME."""
    of_truth: ClassVar[bool] = False
    """True if codes are read off the truths."""

    def of(self, method: Method[Any], keys: Sequence[str], truth: Tensor | None) -> list[Tensor]:
        """Give the codes of images with these keys and truths (N, C, H, W): a tensor z_NZ for each output."""
        raise TypeError("a kind of codes defines of")


@dataclass(frozen=True)
class Drawn(Codes):
    """Draw codes from N(0, 1), seeded by the image's key and the output's number (`--samples`)."""

    def of(self, method: Method[Any], keys: Sequence[str], truth: Tensor | None) -> list[Tensor]:
        return [method.draw_codes(keys, k) for k in range(len(self.titles))]


@dataclass(frozen=True)
class Given(Codes):
    """Give every input the same codes, read off images of B (`--like` a folder or a list)."""

    z: tuple[Code, ...]

    def of(self, method: Method[Any], keys: Sequence[str], truth: Tensor | None) -> list[Tensor]:
        return [torch.tensor(z).expand(len(keys), -1) for z in self.z]


@dataclass(frozen=True)
class GivenOne(Given):
    """Give every input the same one code (`--like` a file)."""

    numbered: ClassVar[bool] = False


@dataclass(frozen=True)
class OfTruth(Codes):
    """Read each image's code off its own truth (`--like truth`)."""

    numbered: ClassVar[bool] = False
    of_truth: ClassVar[bool] = True

    def of(self, method: Method[Any], keys: Sequence[str], truth: Tensor | None) -> list[Tensor]:
        assert truth is not None, "loaded where of_truth"
        return [method.encode(truth)]


@dataclass(frozen=True)
class Between(Codes):
    """Interpolate between two codes in equal steps, both included: (1 - t) z0 + t z1 (`--interpolate`).

    Args:
        ends: the two codes; None: codes 0 and 1 that are drawn for each key.
    """

    ends: tuple[Code, Code] | None

    def of(self, method: Method[Any], keys: Sequence[str], truth: Tensor | None) -> list[Tensor]:
        drawn = self.ends is None
        first, last = (method.draw_codes(keys, k) if drawn else torch.tensor(self.ends[k]) for k in (0, 1))  # type: ignore[index]
        steps = walk(first, last, len(self.titles))
        return steps if drawn else [z.expand(len(keys), -1) for z in steps]


def walk(first_NZ: Tensor, last_NZ: Tensor, steps: int, how: Path = "line") -> list[Tensor]:
    """Go from one code to another in equal steps, both included; each row of codes by itself.

    Args:
        how: line, (1 - t) a + t b; or circle, sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, where w is the angle
            between a and b, which for codes of N(0, 1) keeps to lengths that G has seen (White 2016, "Sampling
            Generative Networks"). Where w is nearly 0 or half a turn, it is the line.
    """
    if how == "line":
        return [torch.lerp(first_NZ, last_NZ, t) for t in _steps(steps)]
    cosine = torch.cosine_similarity(first_NZ.double(), last_NZ.double(), dim=1).clamp(-1, 1)
    angle = cosine.acos()[:, None]
    bent = angle.sin() > 1e-4
    found = []
    for t in _steps(steps):
        a, b = (((share * angle).sin() / torch.where(bent, angle.sin(), 1.0)) for share in (1 - t, t))
        a, b = torch.where(bent, a, 1 - t).to(first_NZ), torch.where(bent, b, t).to(first_NZ)
        found.append(a * first_NZ + b * last_NZ)
    return found


def _steps(n: int) -> list[float]:
    return [k / (n - 1) for k in range(n)]


def codes_of(
    method: Method[Any],
    inputs: Inputs,
    way: Direction = "AtoB",
    *,
    samples: int = 0,
    like: str = "",
    interpolate: int = 0,
    loading: Loading = AS_IT_IS,
) -> Codes | None:
    """Choose the codes that --samples, --like and --interpolate ask for; None: none of them is given.

    Args:
        way: direction in which images are made.
        loading: how images of --like are read: as the inputs are.

    Raises:
        ConfigError: the method or the input does not allow such outputs, or flags exclude each other.
        DataError: an image of --like cannot be used.
    """
    if method.control(Examples):
        like = ""  # examples, and no codes
    _check_flags(method, inputs, samples, like, interpolate)
    if samples:
        return Drawn(tuple(f"sample {k}" for k in range(samples)))
    if like == TRUTH:
        return OfTruth(("like its truth",))
    names, codes, one = _read(method, like, loading, way) if like else ([], (), False)
    if interpolate:
        if like and len(codes) != 2:
            fix = "Name two: --like FIRST,SECOND."
            raise ConfigError("--like", f"{len(codes)} images beside --interpolate", "two, to go between", fix)
        titles = tuple(f"{k}: {t:.2f}" for k, t in enumerate(_steps(interpolate)))
        return Between(titles, (codes[0], codes[1]) if like else None)
    if codes:
        return GivenOne((f"like {names[0]}",), codes) if one else Given(tuple(_numbered(names)), codes)
    return None


def _numbered(names: Sequence[str]) -> list[str]:
    return [f"{k}: like {name}" for k, name in enumerate(names)]


def _check_flags(method: Method[Any], inputs: Inputs, samples: int, like: str, interpolate: int) -> None:
    for name, value in (("--samples", samples), ("--interpolate", interpolate)):
        if value and not method.codes:
            raise ConfigError(name, str(value), "none: this method has one output", f"Leave {name} out.")
    if like and not method.encodes:
        expected = "none: this method reads no code off an image"
        raise ConfigError("--like", repr(like), expected, "Leave --like out.")
    if samples and (like or interpolate):
        other = "--like" if like else "--interpolate"
        raise ConfigError("--samples", f"{other} beside it", "one of the two", "Leave one of them out.")
    if interpolate == 1:
        raise ConfigError("--interpolate", "1", "at least 2: both ends are among the outputs", "Give it 2 or more.")
    if like == TRUTH and interpolate:
        fix = "Name two images: --like FIRST,SECOND."
        raise ConfigError("--like", f"{TRUTH} beside --interpolate", "two images, to go between", fix)
    if like == TRUTH and not (isinstance(inputs, Split) and inputs.truths):
        fix = "Name a paired data set with --input, or an image with --like."
        raise ConfigError("--like", f"{TRUTH} for images without one", "a paired data set as --input", fix)


def _read(method: Method[Any], like: str, loading: Loading, way: Direction) -> tuple[list[str], tuple[Code, ...], bool]:
    """Read the names and codes of the images that `like` names, and tell if it is one file.

    The driver encodes them on the CPU, one at a time, before any worker starts: so all workers have the same codes.
    """
    names, codes = [], []
    images, one = _liked(method, like, loading, way)
    for name, where, b in images:
        check_encodable(method, b, where)
        names.append(name)
        codes.append(tuple(method.encode(b[None], way)[0].tolist()))
    return names, tuple(codes), one


def _liked(
    method: Method[Any], like: str, loading: Loading, way: Direction
) -> tuple[list[tuple[str, str, Tensor]], bool]:
    """Read name, place and values (C, H, W) of the images that `like` names, and tell if it is one file.

    Raises:
        ConfigError, DataError: it names none, or one that cannot be read.
    """
    found, one = [], "," not in like
    channels = method.channels()[next(iter(sides(method, way)[1]))]
    for place in filter(None, like.split(",")):
        images, is_file = open_images(absolute(place, "--like"), "--like")
        one = one and is_file
        for i, name in enumerate(images.names):
            where = f"--like {images.paths[i]}"
            try:
                b = loaded(images.fetch(i), channels, loading, where).x
            except (OSError, ValueError) as error:
                raise DataError(where, f"a file that cannot be read ({error})", "an image", "Name another.") from None
            found.append((name, where, b))
    if not found:
        raise ConfigError("--like", repr(like), "images of B", "Name a file, a folder or a list.")
    return found, one


def examples_of(method: Method[Any], like: str, loading: Loading, way: Direction = "AtoB") -> Tensor | None:
    """Read the example images that a method takes, (K, C, H, W); None: the method takes no examples.

    Raises:
        ConfigError: none are named.
        DataError: one cannot be read, or they are of several sizes.
    """
    if not method.control(Examples):
        return None
    if not like:
        fix = "Name some with --like: a file, a folder, or several with commas between."
        raise ConfigError("--like", "nothing", "images that the outputs are to be like", fix)
    images, _ = _liked(method, like, loading, way)
    (_, first, b), *others = images
    for _, where, other in others:
        if other.shape != b.shape:
            found = f"{other.shape[2]} x {other.shape[1]} pixels (width x height)"
            expected = f"{b.shape[2]} x {b.shape[1]}, as {first.removeprefix('--like ')} has"
            fix = f"Give --size {b.shape[2]}x{b.shape[1]}, to which all are brought."
            raise DataError(where, found, expected, fix)
    return torch.stack([x for _, _, x in images])


def check_encodable(method: Method[Any], b_CHW: Tensor, where: str) -> None:
    """Check that the encoder can halve the image often enough. Raises DataError where it is too small."""
    least, (height, width) = method.least_encoded, b_CHW.shape[1:]
    if min(height, width) < least:
        expected = f"at least {least} x {least}, which the encoder halves {least.bit_length() - 1} times"
        raise DataError(where, f"{width} x {height} pixels (width x height)", expected, f"Give --size {least} or more.")
