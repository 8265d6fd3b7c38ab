"""What a checkpoint is asked to translate: a folder of images, a list of them, or a split of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from i2i_core.batch import scaled
from i2i_core.data.folders.layouts import list_files
from i2i_core.data.format.manifest import MANIFEST, DataSet
from i2i_core.data.format.places import MOST_SHOWN, no_file_name, storage_named
from i2i_core.data.reading.reader import Reader
from i2i_core.data.reading.transforms import resized
from i2i_core.errors import ConfigError, DataError
from i2i_core.fields import Field, Needs
from i2i_core.images.codec import EXTENSIONS, ImageOptions, Picture, decode_picture, prepare
from i2i_core.storage.remote import storage_of, strip_protocol

File = tuple[bytes, str]
"""The bytes of an image file, and the end of its name."""


class Inputs(Protocol):
    """Images by position, and what the outputs are to be called."""

    @property
    def names(self) -> Sequence[str]:
        """Of the outputs, without an ending."""

    def fetch(self, i: int) -> File:
        """Raises OSError when it cannot be read."""

    def truth(self, i: int, target: np.ndarray | None) -> File | None:
        """What the output should look like, where the input knows."""


class Files:
    """Image files. `paths` as the filesystem `fs` knows them."""

    def __init__(self, fs: Any, paths: Sequence[str], names: Sequence[str]) -> None:
        self.fs, self.paths, self.names = fs, paths, names

    def fetch(self, i: int) -> File:
        return self.fs.cat_file(self.paths[i]), _ending(self.paths[i])

    def truth(self, i: int, target: np.ndarray | None) -> File | None:
        return None


class Split:
    """A split of a data set: the side that the method reads, and the truth where there is one.

    Args:
        data: the data set.
        split: its split.
        direction: `BtoA` reads b, and a is the truth; as the checkpoint was trained.
        needs: what the method reads of a data set.
    """

    def __init__(self, data: DataSet, split: str, direction: str, needs: Needs) -> None:
        manifest, swap = data.manifest, direction == "BtoA"
        self.data, self.split, self.fields = data, split, list(manifest.fields)
        data.check_shards(split)
        self.domain = manifest.domains[-1 if swap else 0]
        self.reader = Reader(data, split, self.domain)
        pair = ("b", "a") if swap else ("a", "b")
        self.pairs = needs.roles.keys() >= {"a", "b"}
        names = pair if self.pairs else ("image", "image")
        self.column, self.other = (self.fields.index(name) for name in names)
        self.names: Sequence[str] = self.reader.rows.keys()
        self.labels = self.reader.rows.labels()

    @property
    def written(self) -> Field:
        """How an output is stored: as the truth of a pair is, else as the input."""
        return self.data.manifest.fields[self.fields[self.other]]

    def fetch(self, i: int) -> File:
        return self._member(i, self.column)

    def _member(self, i: int, column: int) -> File:
        field = self.data.manifest.fields[self.fields[column]]
        return self.reader.read([i], column)[0], field.extension

    def truth(self, i: int, target: np.ndarray | None) -> File | None:
        """Of a pair, its other side; of a labelled sample, its twin with the label `target`."""
        if self.pairs:
            return self._member(i, self.other)
        row = None if target is None else self.twin(i, target)
        return None if row is None else self._member(row, self.column)

    def twin(self, i: int, target: np.ndarray) -> int | None:
        """The sample of the same identity (what its key has before the first `-`) whose label is `target`.

        Data sets whose keys are no identities have no twins: there, one beginning of a key has
        two samples of one label, or no key has a `-`.
        """
        return self._twins.get((identity(self.names[i]), target.tobytes()))

    @cached_property
    def _twins(self) -> dict[tuple[str, bytes], int]:
        rows = {(identity(k), c.tobytes()): i for i, (k, c) in enumerate(zip(self.names, self.labels, strict=True))}
        return rows if len(rows) == len(self.names) and all("-" in name for name in self.names) else {}


def _ending(path: str) -> str:
    return path.rsplit("/", 1)[-1].rpartition(".")[2].lower()


def _stem(path: str) -> str:
    return path[: -len(_ending(path)) - 1] if "." in path.rsplit("/", 1)[-1] else path


def open_inputs(uri: str, out: str, split: str, needs: Needs, direction: str, shards_at: Sequence[str] = ()) -> Inputs:
    """What stands at `uri`, a path or fsspec URL.

    Args:
        out: where outputs go; left out of a folder that holds it.
        needs: what the method reads of a data set.
        shards_at: where shards of a data set may lie besides.

    Raises:
        DataError: nothing there, no image there, or a data set that lacks what the method reads.
    """
    if not uri:
        raise ConfigError("--input", "nothing", "images, a list of images, or a data set", "Name it with --input.")
    fs, root = storage_of(uri.rstrip("/") or uri)
    if fs.isdir(root) and fs.exists(f"{root}/{MANIFEST}"):
        data = DataSet(uri, shards_at)
        if lack := needs.lacks(data.manifest):
            fix = f"{lack.fix} A folder of images does too."
            raise DataError(f"--input {uri}", f"a data set of {lack.found}", lack.expected, fix)
        return Split(data, split, direction, needs)
    return open_images(uri, "--input", out)[0]


def open_images(uri: str, flag: str, out: str = "") -> tuple[Files, bool]:
    """The images of a folder, a list, or one file; and whether it is one file.

    Args:
        flag: names the place in messages.
        out: where outputs go; left out of a folder that holds it.

    Raises:
        DataError: nothing there, or no image.
    """
    fs, root = storage_of(uri.rstrip("/") or uri)
    if fs.isdir(root):
        return _folder(uri, flag, out), False
    if fs.exists(root):
        return _file_or_list(uri, fs, root, flag), _ending(root) in EXTENSIONS
    raise DataError(f"{flag} {uri}", "nothing at that place", "images or a list of images", "Check the name.")


def _folder(uri: str, flag: str, out: str) -> Files:
    fs, root = storage_of(uri.rstrip("/") or uri)
    out_fs, out_root = storage_of(out.rstrip("/") or out)
    same = bool(out) and out_fs.protocol == fs.protocol
    if same and out_root == root:
        raise ConfigError("--out", f"{out}, which is --input", "another folder", "Name a new folder for the outputs.")
    listed = [(f"{root.rstrip('/')}/{path}", path) for path in list_files(uri, flag).images]
    kept = [(full, path) for full, path in listed if not (same and full.startswith(f"{out_root}/"))]
    if not kept:
        endings = " ".join(sorted(EXTENSIONS))
        fix = f"Name a folder with images ({endings})" + (", or a data set." if flag == "--input" else ".")
        raise DataError(f"{flag} {uri}", "a folder without images and without manifest.json", "images", fix)
    return Files(fs, [full for full, _ in kept], [_stem(path) for _, path in kept])


def _file_or_list(uri: str, fs: Any, path: str, flag: str) -> Files:
    if _ending(path) in EXTENSIONS:
        return Files(fs, [path], [_stem(path).rsplit("/", 1)[-1]])
    fix = "Name a folder of images, a list of images, or a data set."
    try:
        lines = [line.strip() for line in fs.cat_file(path).decode().splitlines()]
    except UnicodeDecodeError:
        raise DataError(f"{flag} {path}", "a file that is neither an image nor text", "one of them", fix) from None
    places = [_beside(uri, path, line, fs, flag) for line in lines if line]
    if not places:
        raise DataError(f"{flag} {path}", "an empty list", "one image a line", "Put paths of images into it.")
    return Files(fs, places, [_stem(place).rsplit("/", 1)[-1] for place in places])


def _beside(uri: str, path: str, line: str, fs: Any, flag: str) -> str:
    """A line of a list: a full path or URL of the list's own storage, or a path beside the list."""
    full = "://" in line or line.startswith(("/", "~"))
    if "::" in line or (full and storage_named(line) != storage_named(uri)):
        fix = "Put the list where its images are."
        raise DataError(f"{flag} {uri}", f"{line[:MOST_SHOWN]!r} of another storage", "paths on the list's own", fix)
    if full:
        return strip_protocol(fs, line)
    return f"{path.rsplit('/', 1)[0]}/{line}"


def check_names(inputs: Inputs, reserved: Sequence[str]) -> None:
    """Every output can be written under its input's name, and no two are written to one place.

    Args:
        reserved: names that outputs cannot have.

    Raises:
        DataError: naming the first image, or two, for which that is not so.
    """
    places = inputs.paths if isinstance(inputs, Files) else inputs.names
    seen: dict[str, str] = {}
    for name, place in zip(inputs.names, places, strict=True):
        if wrong := no_file_name(name):
            fix = "Outputs have the names of their images: rename this one, or make the data set again without it."
            raise DataError("--input", f"{place!r}, {wrong}", "names that files can have", fix)
        if name in seen and isinstance(inputs, Files):
            fix = f"Both would be written as {name}.png: rename one, or translate them into two folders."
            raise DataError("--input", f"{seen[name]} and {place}", "names that differ without their endings", fix)
        if name in seen:
            fix = f"Both would be written as {name}.png; `--shards` keeps the samples of each shard apart."
            raise DataError("--input", f"two samples with the key {name}", "keys that differ", fix)
        seen[name] = place
    for name in reserved:
        if name in seen:
            fix = "The program writes a file of that name itself: rename the image."
            raise DataError("--input", f"an image called {name}", "another name", fix)


def loaded(file: File, channels: int, size: int, name: str) -> tuple[Tensor, str]:
    """An image as (C, H, W) in [-1, 1], and the dtype it was stored as.

    Args:
        channels: that it is converted to; 0: it stays as it is.
        size: pixels square that it is resized to; 0: its own.
        name: of the image, in messages.

    Raises:
        DataError: no conversion to so many channels.
        ValueError: it cannot be decoded, or float values lie outside [-1, 1].
    """
    picture = decode_picture(*file)
    x = converted(picture, channels, name) if channels else picture.pixels
    x_CHW = torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))
    return scaled(resized(x_CHW, size) if size else x_CHW), str(x.dtype)


def converted(picture: Picture, channels: int, name: str) -> np.ndarray:
    """The image with that many channels: grey and RGB become each other, transparency is laid over white.

    Raises:
        DataError: no such conversion.
        ValueError: float values outside [-1, 1].
    """
    have = picture.pixels.shape[2]
    keep = picture.alpha and have == channels
    colours = have - 1 if picture.alpha and not keep else have
    if colours != channels and not {colours, channels} <= {1, 3}:
        fix = "Grey and RGB images are converted; others need a checkpoint trained on their kind."
        raise DataError(name, f"{have} channels", f"{channels}, which the checkpoint reads", fix)
    wanted: Any = channels if colours != channels else None
    return prepare(picture, ImageOptions(keep_alpha=keep, channels=wanted))


def identity(key: str) -> str:
    """What a sample shows, of data sets whose keys say it: what stands before the first `-`."""
    return key.split("-", 1)[0]
