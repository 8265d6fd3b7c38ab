"""Read what a checkpoint translates: a folder of images, a list of them, or a split of a data set."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, overload

import numpy as np
import torch
from torch import Tensor

from i2i_core.batch import as_used
from i2i_core.data.folders.arriving import Ahead, Images, Page
from i2i_core.data.folders.layouts import by_number
from i2i_core.data.folders.listing import Entry, are_images, extension, stem, version_here, version_of
from i2i_core.data.format.manifest import MANIFEST, DataSet
from i2i_core.data.format.places import MOST_SHOWN, no_file_name, storage_named
from i2i_core.data.format.roles import value_of
from i2i_core.data.reading.reader import Reader
from i2i_core.data.reading.transforms import Augment
from i2i_core.errors import ConfigError, DataError, counted
from i2i_core.fields import PIXELS, Field, Needs
from i2i_core.images.codec import EXTENSIONS
from i2i_core.images.containers import is_video
from i2i_core.images.video import Clip
from i2i_core.methods.base import Direction, Method, knows_truth, sides
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import special
from i2i_core.storage.remote import is_local, storage_of, strip_protocol
from i2i_core.translation.hashes import Hashes, hashes
from i2i_core.translation.loading import File, Loading, Sizing, loaded
from i2i_core.translation.patterns import is_pattern, matched

logger = logging.getLogger(__name__)

AT_ONCE = 4096
"""Names that are checked together."""


class Inputs(Protocol):
    """Give the images to translate by position, and the outputs' names."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the outputs, without an ending."""

    def fetch(self, i: int, name: str) -> File:
        """Read the image that a method takes under this name. Raises OSError when it cannot be read."""

    def truth(self, i: int, target: np.ndarray | None) -> File | None:
        """Read the image that the output should look like; None where the input does not have it."""

    def clips(self) -> list[Sequence[int]]:
        """List the positions of each clip's frames, in order."""


class Files:
    """Read image files to translate; files of a folder can be a clip.

    Args:
        fs: filesystem of the files.
        paths: as the filesystem knows them.
        names: of the outputs.
        left_out: what a pattern matches besides, in words.
        versions: of each file a text that changes where the file does; none: nothing is known of them.
        more: a listing that goes on; its files come after these.
    """

    def __init__(
        self,
        fs: Any,
        paths: Sequence[str],
        names: Sequence[str],
        left_out: str = "",
        versions: Sequence[str] = (),
        more: Arriving | None = None,
    ) -> None:
        self.fs, self.paths, self.names, self.left_out = fs, paths, names, left_out
        self.versions, self.more = versions, more

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "more": None}  # a listing stays with its process

    def fetch(self, i: int, name: str = "") -> File:
        path = self.paths[i]
        if is_local(self.fs) and (kind := special(path)):  # of a list; a folder's are left out
            raise ValueError(f"{kind}, which is not opened")
        return self.fs.cat_file(path), extension(path)

    def ending(self, i: int) -> str:
        """Give the ending of a file's name."""
        return extension(self.paths[i])

    def label(self, i: int) -> str:
        """Name a file for people: as its outputs, with its ending."""
        ending = self.paths[i][len(stem(self.paths[i])) + 1 :]
        return f"{self.names[i]}.{ending}" if ending else self.names[i]

    def truth(self, i: int, target: np.ndarray | None) -> File | None:
        return None

    def clips(self) -> list[Sequence[int]]:
        """List the images of each folder, in the order of their numbers."""
        folders: dict[str, list[int]] = {}
        for i, path in enumerate(self.paths):
            folders.setdefault(path.rpartition("/")[0], []).append(i)
        return [sorted(same, key=lambda i: by_number(self.paths[i])) for same in folders.values()]


class Clips(Files):
    """Read video files to translate; `names` are those of the files, without an ending."""

    def opened(self, i: int) -> Clip:
        """Open a video: a local file by its path, another by ranges of its bytes. Raises ValueError, OSError."""
        path = self.paths[i]
        if not is_local(self.fs):
            return Clip(self.fs.open(path))
        if kind := special(path):
            raise ValueError(f"{kind}, which is not opened")
        return Clip(path)


class Numbers(Sequence[str]):
    """Write the numbers below a count, all as long as the longest."""

    def __init__(self, count: int) -> None:
        self.numbers = range(count)

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self[k] for k in range(len(self))[i]]
        return f"{self.numbers[i]:0{len(str(len(self) - 1))}d}"


class Counted:
    """Count outputs that are made without an input; their names are their numbers."""

    def __init__(self, count: int) -> None:
        self.names: Sequence[str] = Numbers(count)

    def fetch(self, i: int, name: str) -> File:
        raise TypeError("there are no images")

    def truth(self, i: int, target: np.ndarray | None) -> File | None:
        return None

    def clips(self) -> list[Sequence[int]]:
        return [[i] for i in range(len(self.names))]


@dataclass(frozen=True)
class Arriving:
    """Hold the rest of a folder's listing, which goes on while its first images are translated."""

    root: str
    pages: Ahead

    def __iter__(self) -> Iterator[Files]:
        """Give the images page by page. Raises as the listing does."""
        for page in self.pages:
            yield files_of(None, self.root, page)


def files_of(fs: Any, root: str, found: Sequence[Entry]) -> Files:
    """Make inputs of listed files."""
    paths = [f"{root.rstrip('/')}/{one.path}" for one in found]
    return Files(fs, paths, [stem(one.path) for one in found], "", [one.version for one in found])


def clips_of(fs: Any, root: str, found: Sequence[Entry]) -> Clips:
    """Make inputs of listed videos."""
    return Clips(fs, [f"{root.rstrip('/')}/{one.path}" for one in found], [stem(one.path) for one in found])


def _ranges(lengths: Iterable[int]) -> list[range]:
    """Cut consecutive ranges of these lengths."""
    ends = list(accumulate(lengths))
    return [range(a, b) for a, b in zip([0, *ends], ends, strict=False)]


class Keys(Sequence[str]):
    """Read the keys of samples off their index when they are asked for, some at a time: nothing grows with their
    number."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._first, self._some = reader, 0, list[str]()

    def __getstate__(self) -> dict[str, Any]:
        return {"_reader": self._reader, "_first": 0, "_some": []}

    def __len__(self) -> int:
        return len(self._reader.rows)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return self._reader.rows.keys(range(len(self))[i])
        i = range(len(self))[i]
        if not self._first <= i < self._first + len(self._some):
            self._first = i - i % AT_ONCE
            self._some = self._reader.rows.keys(range(self._first, min(self._first + AT_ONCE, len(self))))
        return self._some[i - self._first]


class Split:
    """Read a split of a data set to translate: the fields that a method takes, and the truth where there is one.

    Args:
        data: the data set.
        split: name of the split.
        method: the method that makes the images.
        direction: `BtoA` where the method was trained so: then its a is stored as b.
        way: direction in which images are made.
    """

    def __init__(
        self,
        data: DataSet,
        split: str,
        method: Method[Any] | type[Method[Any]],
        direction: Direction = "AtoB",
        way: Direction = "AtoB",
    ) -> None:
        taken, made = sides(method, way)
        self.data, self.split, self.fields = data, split, list(data.manifest.fields)
        data.check_shards(split)
        needs = method.needs
        first = needs.domains == 1 or next(iter(taken)).startswith("a") == (direction == "AtoB")
        self.domain = data.manifest.domains[0 if first else 1]
        self.shown_domain = data.manifest.domains[-1 if first else 0]
        """Domain that outputs look like."""
        columns = {name: self.fields.index(needs.stored(name, direction)) for name in taken}
        self.columns: Mapping[str, int] = columns
        self.column = next((columns[name] for name, role in taken.items() if role == "image"), -1)
        """Column of the first image among the inputs."""
        shows = needs.stored(next(iter(made)), direction)
        self.truths = knows_truth(method) and shows in self.fields
        """True if a sample holds the true output."""
        as_made = shows in self.fields and (self.truths or needs.domains == 2 or self.column < 0)
        self.other = self.fields.index(shows) if as_made else self.column
        self.reader = Reader(data, split, self.domain)
        self.names: Sequence[str] = Keys(self.reader)
        self.labels = self.reader.rows.labels()

    @property
    def written(self) -> Field:
        """Field that outputs are stored like: the truth's, else the source image's."""
        return self.data.manifest.fields_in(self.shown_domain)[self.fields[self.other]]

    def field(self, column: int) -> Field:
        """Describe the field of a column of the samples that are read."""
        return self.data.manifest.fields_in(self.domain)[self.fields[column]]

    @property
    def dtype(self) -> str:
        """Type that an output's values are stored as."""
        return "uint8" if self.other < 0 else self.written.dtype

    def fetch(self, i: int, name: str) -> File:
        return self._member(i, self.columns[name])

    def value(self, i: int, name: str, sizing: Sizing) -> Tensor:
        """Read an input that is no image, as a batch has it, without the first axis.

        Args:
            sizing: size that a field of pixels is brought to.

        Raises:
            ValueError: the value cannot be decoded, or is not what the manifest says.
        """
        field = self.field(self.columns[name])
        value = value_of(self._member(i, self.columns[name])[0], field)
        if field.role in PIXELS:
            assert isinstance(value, np.ndarray)
            size = sizing.of(*value.shape[:2]) if sizing else 0
            value = Augment(size, 0, "none", False, 0)({name: value}, [0, 0, 0], {name: field})[name]
        assert isinstance(value, np.ndarray)
        x = torch.from_numpy(np.ascontiguousarray(value))
        return as_used(x.permute(2, 0, 1).contiguous() if field.role in PIXELS else x, field.role)

    def clips(self) -> list[Sequence[int]]:
        """List each clip's frames; join a clip that a shard's end cut in two, without frames that both parts have."""
        rows, found = self.reader.rows, list[list[int]]()
        if not self.data.manifest.clips:
            return [[i] for i in range(len(self.names))]
        lengths = (int(n) for shard in range(len(self.reader.set.shards)) for n in rows.clip_lengths(shard))
        for part in _ranges(lengths):
            of, last = self.names[part.start].rpartition("/")[0], found[-1] if found else []
            if of and last and self.names[last[-1]].rpartition("/")[0] == of:
                had = {self.names[i] for i in last}
                last += [i for i in part if self.names[i] not in had]
            else:
                found.append(list(part))
        return [*found]

    def _member(self, i: int, column: int) -> File:
        field = self.field(column)
        return self.reader.read([i], column)[0], field.extension

    def truth(self, i: int, target: np.ndarray | None) -> File | None:
        """Read the true output that the sample holds; for a labelled sample, its twin with the label `target`."""
        if self.truths:
            return self._member(i, self.other)
        row = None if target is None else self.twin(i, target)
        return None if row is None else self._member(row, self.column)

    def twin(self, i: int, target: np.ndarray) -> int | None:
        """Find the sample of the same identity (its key up to the first `-`) whose label is `target`.

        Returns None for data sets whose keys are no identities: where two samples have the same identity and label, or
        some key has no `-`.
        """
        return self._twins.get((identity(self.names[i]), target.tobytes()))

    @cached_property
    def _twins(self) -> dict[tuple[str, bytes], int]:
        rows = {(identity(k), c.tobytes()): i for i, (k, c) in enumerate(zip(self.names, self.labels, strict=True))}
        return rows if len(rows) == len(self.names) and not without_identity(self.names) else {}


def open_inputs(
    uri: str,
    out: str,
    split: str,
    method: Method[Any] | type[Method[Any]],
    direction: Direction,
    way: Direction,
    shards_at: Sequence[str] = (),
    at_first: int = 0,
) -> Inputs:
    """Open an image, a folder or pattern of images, a list, or a data set, at a path or fsspec URL; videos instead of
    images, where there are no images.

    Args:
        out: folder of the outputs; it and its contact sheet are left out of a folder that holds them.
        method, direction, way: as in `Split`.
        shards_at: further folders that a data set's shards may lie in.
        at_first: images of a folder that are listed before this returns, at least; the others are listed meanwhile. 0:
            all.

    Raises:
        DataError: nothing is there, no image is there, or a data set lacks what the method reads.
    """
    taken, _ = sides(method, way)
    alone = list(taken.values()) == ["image"]
    if not uri:
        expected = "images, a list of images, or a data set" if alone else "a data set"
        raise ConfigError("--input", "nothing", expected, "Name it with --input.")
    fs, root = storage_of(uri.rstrip("/") or uri)
    if fs.isdir(root) and fs.exists(f"{root}/{MANIFEST}"):
        data = DataSet(uri, shards_at)
        _check_fields(uri, data, method, direction, taken)
        return Split(data, split, method, direction, way)
    if not alone:
        named = ", ".join(f"{name} ({role})" for name, role in taken.items())
        fix = corrected(uri, "Make one with `python pipelines/shard.py --layout fields`, and name it with --input.")
        raise DataError(f"--input {uri}", "no data set", f"one with {named}, of which images are made", fix)
    return open_images(uri, "--input", out, at_first, videos=True)[0]


def _check_fields(
    uri: str,
    data: DataSet,
    method: Method[Any] | type[Method[Any]],
    direction: Direction,
    taken: Mapping[str, str],
) -> None:
    """Check that a data set has the fields that images are made from. Raises DataError.

    Fields that only training reads may be missing.
    """
    needs = method.needs
    wanted = Needs({needs.stored(name, direction): role for name, role in taken.items()}, domains=needs.domains)
    if lack := wanted.lacks(data.manifest):
        lack = needs.lacks(data.manifest) or lack
        fix = f"{lack.fix} A folder of images does too." if list(taken.values()) == ["image"] else lack.fix
        raise DataError(f"--input {uri}", f"a data set of {lack.found}", lack.expected, fix)


def open_images(uri: str, flag: str, out: str = "", at_first: int = 0, videos: bool = False) -> tuple[Files, bool]:
    """Open the images of a folder, of a pattern or of a list, or one file; tell also if it is one file.

    Args:
        flag: the flag that named the place, for messages.
        out: folder of the outputs; it and what lies beside it are left out of a folder that holds them.
        at_first: as for `open_inputs`.
        videos: take videos too: a file, or those of a place that has no images (`Clips`).

    Raises:
        DataError: nothing is there, or no image.
    """
    fs, root = storage_of(uri.rstrip("/") or uri)
    if fs.isdir(root):
        return _folder(uri, flag, out, at_first, videos), False
    if is_local(fs) and (kind := special(root)):
        raise DataError(f"{flag} {uri}", f"{kind}, which is not opened", "images or a list of images", "Name a file.")
    if fs.exists(root):
        is_one = _is_image(fs, root) or (videos and is_video(root))
        return _file_or_list(uri, fs, root, flag, videos), is_one
    if is_pattern(root, fs):
        return _matching(uri, fs, root, flag, out, videos), False
    raise DataError(f"{flag} {uri}", "nothing at that place", "images or a list of images", corrected(uri))


def sheet_of(out: str) -> str:
    """Name the place of the contact sheet: beside the folder of the outputs, so that this holds nothing else. Empty
    where there is nothing beside it, as beside a bucket."""
    return _beside_of(out, "-sheet.png")


def ledger_of(out: str) -> str:
    """Name the folder that says what was made of each image: beside the folder of the outputs; where there is nothing
    beside it, a hidden one in it, which listings leave out."""
    return _beside_of(out, "-ledger") or f"{out.rstrip('/')}/.ledger"


def _beside_of(out: str, ending: str) -> str:
    """Name a place beside a folder; empty where there is none."""
    _, root = storage_of(out.rstrip("/") or out)
    _, slash, name = root.rstrip("/").rpartition("/")
    return f"{out.rstrip('/')}{ending}" if slash and name else ""


def _of_outputs(out: str) -> tuple[str, ...]:
    """Name what a translation writes, as the filesystem of the outputs knows it: folders end with `/`."""
    if not out:
        return ()
    places = (f"{out.rstrip('/')}/", f"{ledger_of(out)}/", sheet_of(out))
    return tuple(f"{storage_of(at.rstrip('/'))[1]}{'/' * at.endswith('/')}" for at in places if at)


def _folder(uri: str, flag: str, out: str, at_first: int = 0, videos: bool = False) -> Files:
    fs, root = storage_of(uri.rstrip("/") or uri)
    out_fs, out_root = storage_of(out.rstrip("/") or out)
    same = bool(out) and out_fs.protocol == fs.protocol
    if same and out_root == root:
        raise ConfigError("--out", f"{out}, which is --input", "another folder", "Name a new folder for the outputs.")
    top = f"{root.rstrip('/')}/"
    ours = [at.removeprefix(top) for at in (_of_outputs(out) if same else ()) if at.startswith(top)]
    images = Images(uri, flag, ours, videos)
    pages, found, ended = _said_at_the_end(images), list[Entry](), False
    while not ended and not (at_first and len(found) >= at_first):
        page = next(pages, None)
        found += page or []
        ended = page is None
    if not found and images.films:
        return clips_of(fs, root, images.films)
    if not found:
        endings = " ".join(sorted(EXTENSIONS))
        fix = f"Name a folder with images ({endings})" + (", or a data set." if flag == "--input" else ".")
        raise DataError(f"{flag} {uri}", "a folder without images and without manifest.json", "images", fix)
    files = files_of(fs, root, found)
    files.more = None if ended else Arriving(root, Ahead(pages))
    return files


def _said_at_the_end(images: Images) -> Iterator[Page]:
    """Give the pages of a listing, and log at its end what it leaves out."""
    yield from images.pages()
    if line := images.left_out():
        logger.info(f"{images.flag} {images.uri}: {line}")
    if images.films_left_out:
        logger.info(_beside_images(f"{images.flag} {images.uri}", images.films_left_out, images.first_film))


def _beside_images(where: str, count: int, first: str) -> str:
    """Word what becomes of videos among images."""
    return (
        f"{where}: left out: {counted(count, 'video')} among the images, the first {first}: name the videos alone, "
        f"by a pattern such as 'FOLDER/**/*.{extension(first)}', to translate them"
    )


def _matching(uri: str, fs: Any, root: str, flag: str, out: str, videos: bool) -> Files:
    """Open what a pattern matches, but for outputs of the same command."""
    where = f"{flag} {uri}"
    paths, names, versions, left_out = matched(root, fs, where, videos)
    out_fs, out_root = storage_of(out.rstrip("/") or out)
    named = root.startswith(f"{out_root}/")  # the pattern itself lies in it: outputs are looked at where they are named
    same = bool(out) and out_fs.protocol == fs.protocol and not named
    ours = _of_outputs(out)
    kept = [i for i, path in enumerate(paths) if not (same and path.startswith(ours))]
    if not kept:
        raise DataError(where, "a pattern that matches nothing but outputs", "images", "Name another.")
    kind = Clips if videos and is_video(paths[0]) else Files
    columns = ([paths[i] for i in kept], [stem(names[i]) for i in kept])
    return kind(fs, *columns, left_out, [versions[i] for i in kept])


def _is_image(fs: Any, path: str) -> bool:
    """Tell whether a file is an image: by its ending; where it has none, by its first bytes."""
    ending, (folder, _, name) = extension(path), path.rpartition("/")
    return ending in EXTENSIONS or (not ending and all(are_images(fs, folder, [name])))


def _file_or_list(uri: str, fs: Any, path: str, flag: str, videos: bool) -> Files:
    """Open an image, a video, or a list of either with a path in each line."""
    if _is_image(fs, path):
        return Files(fs, [path], [stem(path).rsplit("/", 1)[-1]], "", [version_of(fs.info(path))])
    if videos and is_video(path):
        return Clips(fs, [path], [stem(path).rsplit("/", 1)[-1]])
    fix = "Name a folder of images, a list of images, or a data set."
    try:
        lines = [line.strip() for line in fs.cat_file(path).decode().splitlines()]
    except UnicodeDecodeError:
        raise DataError(f"{flag} {path}", "a file that is neither an image nor text", "one of them", fix) from None
    places = [_beside(uri, path, line, fs, flag) for line in lines if line]
    if not places:
        raise DataError(f"{flag} {path}", "an empty list", "one image a line", "Put paths of images into it.")
    films = sum(map(is_video, places)) if videos else 0
    if 0 < films < len(places):
        found = f"a list of {counted(len(places) - films, 'image')} and {counted(films, 'video')}"
        raise DataError(f"{flag} {path}", found, "one kind", "Make a list of each.")
    kind = Clips if films else Files
    versions = [version_here(place) for place in places] if is_local(fs) else ()
    return kind(fs, places, [stem(place).rsplit("/", 1)[-1] for place in places], "", versions)


def _beside(uri: str, path: str, line: str, fs: Any, flag: str) -> str:
    """Resolve a line of a list: a full path or URL of the list's own storage, or a path relative to the list."""
    full = "://" in line or line.startswith(("/", "~"))
    if "::" in line or (full and storage_named(line) != storage_named(uri)):
        fix = "Put the list where its images are."
        raise DataError(f"{flag} {uri}", f"{line[:MOST_SHOWN]!r} of another storage", "paths on the list's own", fix)
    if full:
        return strip_protocol(fs, line)
    return f"{path.rsplit('/', 1)[0]}/{line}"


def check_names(inputs: Inputs, chosen: Sequence[int] | None = None, seen: Hashes | None = None) -> None:
    """Check that every output can be written under its input's name, and no two to one place.

    Args:
        chosen: positions of the inputs that are translated; None: all.
        seen: names of earlier inputs, to which these are added.

    Raises:
        DataError: naming the first image, or the first two, for which this fails.
    """
    places = inputs.paths if isinstance(inputs, Files) else inputs.names
    ending = "mp4" if isinstance(inputs, Clips) else "png"
    seen = Hashes() if seen is None else seen
    positions = range(len(places)) if chosen is None else chosen
    for start in range(0, len(positions), AT_ONCE):
        some = positions[start : start + AT_ONCE]
        for i in some:
            if wrong := no_file_name(inputs.names[i]):
                fix = "Outputs have the names of their images: rename this one, or make the data set again without it."
                raise DataError("--input", f"{places[i]!r}, {wrong}", "names that files can have", fix)
        found = hashes(inputs.names[i] for i in some)
        again = seen.has(found)
        again[np.setdiff1d(np.arange(len(found)), np.unique(found, return_index=True)[1])] = True
        if again.any():
            raise _named_twice(inputs, positions, some[int(again.argmax())], ending)
        seen.add(found)


def _named_twice(inputs: Inputs, positions: Sequence[int], i: int, ending: str) -> DataError:
    """Say which earlier input has the name of an input."""
    name = inputs.names[i]
    if not isinstance(inputs, Files):
        fix = f"Both would be written as {name}.png; `--shards` keeps the samples of each shard apart."
        return DataError("--input", f"two samples with the key {name}", "keys that differ", fix)
    other = next((inputs.paths[k] for k in positions if k != i and inputs.names[k] == name), "an earlier image")
    fix = f"Both would be written as {name}.{ending}: rename one, or translate them into two folders."
    return DataError("--input", f"{other} and {inputs.paths[i]}", "names that differ without their endings", fix)


class LoadedInputs(NamedTuple):
    """Hold the inputs of one output."""

    values: dict[str, Tensor]
    """The inputs by name, as a batch has them without the first axis."""
    dtype: str
    """Type of the stored image."""
    alpha: Tensor | None
    """Transparency of the image, where that is kept."""
    laid: bool
    """True if transparent pixels were laid over the background."""


def load_inputs(
    inputs: Inputs, i: int, taken: Mapping[str, str], channels: Mapping[str, int], loading: Loading
) -> LoadedInputs:
    """Load the inputs of one output.

    Args:
        taken: the inputs' roles, by name.
        channels: channels of each image among them, by name.
        loading: how they are read.

    Raises:
        DataError: an image's channels cannot be converted.
        ValueError: an input cannot be decoded.
    """
    values, dtype, alpha, laid = dict[str, Tensor](), "uint8", None, False
    for name, role in taken.items():
        if role == "image":
            found = loaded(inputs.fetch(i, name), channels[name], loading, f"image {inputs.names[i]}")
            values[name], dtype = found.x, found.dtype
            alpha, laid = found.alpha if alpha is None else alpha, laid or found.laid
        else:
            assert isinstance(inputs, Split), "checked when they were opened"
            values[name] = inputs.value(i, name, loading.sizing)
    return LoadedInputs(values, dtype, alpha, laid)


def without_identity(keys: Iterable[str]) -> str:
    """Give the first key that has no identity; "" where every key has one."""
    return next((key for key in keys if "-" not in key), "")


def why_no_identities(keys: Sequence[str]) -> str:
    """Say why keys do not tell things apart: one has no identity, or two have the same one; "" where they do."""
    if lacking := without_identity(keys):
        return f"the key {lacking!r} has no `-`"
    seen: dict[str, str] = {}
    for key in keys:
        if (other := seen.setdefault(identity(key), key)) != key:
            return f"the keys {other!r} and {key!r} have the same identity, {identity(key)!r}"
    return ""


def identity(key: str) -> str:
    """Read a sample's identity off its key, in data sets whose keys have one: the part before the first `-`."""
    return key.split("-", 1)[0]
