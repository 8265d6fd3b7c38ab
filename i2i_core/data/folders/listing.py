"""List the files of a folder, tell which of them are images, and say of the others why they are left out.

A name's ending says whether a file is an image; of a name without an ending its first bytes do. Links to folders are
followed. What is left out is counted by cause, so that nothing vanishes without a word.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from itertools import islice
from typing import Any, Literal

from i2i_core.errors import DataError, ResourceError, counted
from i2i_core.images.codec import EXTENSIONS
from i2i_core.images.formats import recognise
from i2i_core.names import printable
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import special
from i2i_core.storage.remote import is_local, storage_of

logger = logging.getLogger(__name__)

MOST_NAMED = 20
"""Special files that a warning names."""
MOST_VISITS = 1000
"""Places at which one folder may be found through links."""
HEAD = 512
"""Bytes of a file that are read to tell whether it is an image."""
_AT_ONCE = 256
_FEW = 3

Cause = Literal["tools", "hidden", "loops", "nowhere", "others", "formats", "unnamed", "renamed", "unplaced"]

_WORDS: dict[Cause, tuple[str, str]] = {
    "unplaced": ("file that the layout does not take", "files that the layout does not take"),
    "renamed": ("image by its content with another ending", "images by their content with other endings"),
    "formats": ("file of a format that is not read", "files of formats that are not read"),
    "others": ("file that is no image", "files that are no images"),
    "unnamed": ("name without an ending that is no image", "names without an ending that are no images"),
    "nowhere": ("link that leads nowhere", "links that lead nowhere"),
    "loops": ("link back to a folder above it", "links back to a folder above them"),
    "hidden": ("hidden name", "hidden names"),
    "tools": ("thing that systems and tools leave behind", "things that systems and tools leave behind"),
}
"""Causes for which something is left out, for one and for several, in the order in which they are named."""
_BY_ENDING = ("unplaced", "renamed", "formats", "others")
"""Causes whose files are shown by their endings; others are shown by their names."""

_TOOLS = (
    "__macosx", ".ds_store", "._*", ".appledouble", ".spotlight-v100", ".fseventsd", ".trashes", ".localized",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir", "#recycle",
    "@recycle", "lost+found", ".trash*", ".thumbnails", ".nfs*", ".directory", ".picasa*", "picasa.ini", "__pycache__",
    ".ipynb_checkpoints", ".git", ".gitignore", ".gitattributes", ".svn", ".idea", ".vscode", ".dropbox*",
)  # fmt: skip
"""Names of files and folders that systems and tools leave among images; their case does not matter."""
_IS_TOOLS = re.compile("|".join(map(translate, _TOOLS)), re.IGNORECASE)
_NOT_READ = re.compile(
    "psd|psb|ai|eps|ps|svg|pdf|ico|icns|xcf|kra|cr[23w]|nef|nrw|arw|srf|sr2|dng|orf|rw2|raf|pef|srw|x3f|raw|jxl|exr|hdr|"
    "pfm|dds|qoi|pcx|heics|jxr|wdp|bpg|flif|nii|mha|mhd|nrrd|dm3|mp4|m4v|mov|avi|mkv|webm|mpe?g|wmv|flv|3gp|zip|tar|"
    "t?gz|bz2|xz|7z|rar|lmdb|mdb|tfrecords?|parquet|h5|hdf5|mat|npz"
)
"""Endings of pictures, videos and archives of formats that are not read."""
_PLAIN = re.compile(
    "txt|[ct]sv|jsonl?|md|xml|ya?ml|html?|py|ipynb|sh|m|log|ini|cfg|toml|url|lnk|tmp|part|db|sqlite|pkl|pth?|docx?|xlsx?|"
    "rtf|odt|bib|tex|cls|flo|wav|mp3|flac|ogg"
)
"""Endings of files that are known to be no pictures; the content of others is looked at."""


def extension(path: str) -> str:
    """Give the ending of a file's name in lower case, without its dot; empty where there is none."""
    name = path.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[-1].lower() if "." in name else ""


def stem(path: str) -> str:
    """Give a path without the ending of its name."""
    ending = extension(path)
    return path[: -len(ending) - 1] if "." in path.rsplit("/", 1)[-1] else path


@dataclass(frozen=True)
class Listing:
    """Hold the files below a folder: path relative to it -> bytes, sorted; hidden and special files are left out."""

    uri: str
    root: str
    files: dict[str, int] = field(repr=False)
    annotations: tuple[str, ...] = ()
    """Endings of files that are no images of their own."""
    unnamed: frozenset[str] = frozenset()
    """Images whose names have no ending."""
    aside: Mapping[str, Cause] = field(default_factory=dict, repr=False)
    """Files and folders (`name/`) that are not in `files`, and why."""
    opened: set[str] = field(default_factory=set, repr=False)
    """Places of files that were read as texts."""
    beside: list[Listing] = field(default_factory=list, repr=False)
    """Listings of further folders of the same input."""

    @property
    def images(self) -> list[str]:
        """Paths of the images: endings of images that are no annotations, and images without an ending."""
        others = tuple(f".{ending}" for ending in self.annotations)
        return [
            path
            for path in self.files
            if (extension(path) in EXTENSIONS or path in self.unnamed) and not path.endswith(others)
        ]

    def read_text(self, path: str) -> str:
        """Read a file of text; bytes that are no UTF-8 are replaced."""
        fs, root = storage_of(self.root)
        data: bytes = fs.cat_file(f"{root}/{path}")
        self.opened.add(place(self.root, path))
        return data.decode("utf-8", "replace")

    def below(self, folder: str) -> Listing:
        """Give the listing of a folder below this one; what is not in `files` stays with this one."""
        start = len(folder) + 1
        files = {path[start:]: size for path, size in self.files.items() if path.startswith(folder + "/")}
        unnamed = frozenset(path[start:] for path in self.unnamed if path.startswith(folder + "/"))
        uri, root = f"{self.uri}/{folder}", f"{self.root}/{folder}"
        return Listing(uri, root, files, self.annotations, unnamed, opened=self.opened)

    def further(self, uri: str, flag: str) -> Listing:
        """List another folder of the same input, as `list_files` does."""
        other = list_files(uri, flag)
        self.beside.append(other)
        return other


def place(root: str, path: str) -> str:
    """Name a file by the root of its listing or of its sample, so that equal files have equal names."""
    return re.sub("/+", "/", root).rstrip("/") + f"/{path}"


def list_files(uri: str, flag: str = "--input") -> Listing:
    """List everything below a folder or URL. Links to local folders are followed, each place for itself; a link back to
    a folder above it is left out.

    Raises:
        DataError: nothing there, not a folder, or a folder that may not be read.
    """
    if not uri:
        raise DataError(flag, "nothing", "a folder or URL with images", f"Name it with {flag} DIR.")
    fs, root = storage_of(uri.rstrip("/") or uri)
    if not fs.isdir(root):
        found = "a file" if fs.exists(root) else "nothing at that place"
        raise DataError(f"{flag} {uri}", found, "a folder or URL with images", corrected(uri))
    aside: dict[str, Cause] = {}
    sizes = dict(sorted(_linked(uri, root, flag, aside) if is_local(fs) else _sizes(fs, root, aside)))
    names = plain_files(uri, root, sizes) if is_local(fs) else [*sizes]
    bare = [path for path in names if not extension(path)]
    unnamed = frozenset(path for path, is_image in zip(bare, are_images(fs, root, bare), strict=True) if is_image)
    return Listing(uri, fs.unstrip_protocol(root), {path: sizes[path] for path in names}, (), unnamed, aside)


def plain_files(uri: str, root: str, names: Iterable[str]) -> list[str]:
    """Leave special files (devices, sockets, named pipes) out of the names of local files below a root, and log which:
    they are never opened."""
    kinds = {name: special(os.path.join(root, name)) for name in names}
    if odd := [f"{name} ({kind})" for name, kind in kinds.items() if kind]:
        logger.warning(f"{uri}: left out {counted(len(odd), 'special file')}: {some(odd, MOST_NAMED)}")
    return [name for name, kind in kinds.items() if not kind]


def _odd(name: str) -> Cause | None:
    """Tell why a file or folder of that name is not listed, if it is not."""
    if _IS_TOOLS.match(name):
        return "tools"
    return "hidden" if name.startswith(".") else None


def _sizes(fs: Any, root: str, aside: dict[str, Cause]) -> Iterator[tuple[str, int]]:
    """Give path below a folder and bytes of every file there that is listed."""
    start = len(root.rstrip("/")) + 1
    known: dict[str, Cause | None] = {}
    for full, info in fs.find(root, detail=True).items():
        path = full[start:]
        parts = path.split("/")
        for depth, part in enumerate(parts, start=1):
            if part not in known:
                known[part] = _odd(part)
            if cause := known[part]:
                aside["/".join(parts[:depth]) + ("/" if depth < len(parts) else "")] = cause
                break
        else:
            yield path, int(info.get("size") or 0)


def _linked(uri: str, root: str, flag: str, aside: dict[str, Cause]) -> Iterator[tuple[str, int]]:
    """Give path and bytes of every local file that is listed, also below links to folders, except links back to a
    folder above.

    Raises:
        DataError: a folder may not be read, or links lead to one of them at too many places.
    """
    above = {root: frozenset({os.path.realpath(root)})}
    visits: Counter[str] = Counter()

    def refuse(error: OSError) -> None:
        where = printable(os.path.relpath(str(error.filename or root), root))
        fix = "Make it readable for this account, or move it out of the folder."
        raise DataError(f"{flag} {uri}", f"{where}: {error.strerror}", "folders that can be read", fix)

    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        known = above.pop(folder)
        below = "" if folder == root else os.path.relpath(folder, root) + "/"
        kept = []
        for name in folders:
            real = os.path.realpath(os.path.join(folder, name))
            cause: Cause | None = "loops" if real in known else _odd(name)  # a loop would not end
            if cause:
                aside[f"{below}{name}/"] = cause
                continue
            visits[real] += 1
            if visits[real] > MOST_VISITS:
                found = f"links that lead to {real} at more than {MOST_VISITS} places"
                raise DataError(
                    f"{flag} {uri}", found, "each folder at a few places", "Remove the links among folders."
                )
            above[os.path.join(folder, name)] = known | {real}
            kept.append(name)
        folders[:] = kept
        for name in files:
            size = _size(os.path.join(folder, name))
            cause = _odd(name) or ("nowhere" if size < 0 and extension(name) not in EXTENSIONS else None)
            if cause:
                aside[below + name] = cause
            else:
                yield below + name, max(size, 0)


def _size(path: str) -> int:
    """Give the bytes of a local file; -1 where nothing is at the end of a link."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def are_images(fs: Any, root: str, paths: Sequence[str]) -> Iterator[bool]:
    """Tell of each file, by its first bytes, whether it is an image that can be read."""
    rest = iter(paths)
    while batch := [*islice(rest, _AT_ONCE)]:
        full = [f"{root.rstrip('/')}/{path}" for path in batch]
        for head in fs.cat_ranges(full, [0] * len(full), [HEAD] * len(full), on_error="return"):
            yield isinstance(head, bytes) and _begins_as_image(head)


def _begins_as_image(head: bytes) -> bool:
    try:
        kind = recognise(head, "")
    except ValueError:
        return False
    if kind == "BMP":  # two letters alone, with which a text may begin
        return head[6:10] == bytes(4)
    return kind != "PPM" or bool(re.match(rb"P[1-6f]\s+[#\d]", head))


# ---- what is left out ----

LeftOut = Mapping[Cause, Sequence[str]]
"""Paths by cause, in the order of `_WORDS`."""


def left_out(listing: Listing, used: Collection[str], named: Collection[str] = ()) -> dict[Cause, list[str]]:
    """Sort what a layout leaves out of a listing, and of those beside it, by cause.

    Args:
        used: places (`place`) of all files that samples are made of.
        named: places (`uri/path`) of files that are listed elsewhere.
    """
    found: dict[Cause, list[str]] = defaultdict(list)
    for one in (listing, *listing.beside):
        before = "" if one is listing else f"{one.uri}/"
        for path, cause in one.aside.items():
            found[cause].append(before + path)
        images, root = {*one.images}, place(one.root, "")
        rest = [
            path
            for path in one.files
            if (full := root + path) not in used and full not in one.opened and f"{one.uri}/{path}" not in named
        ]
        disguised = _disguised(one, {extension(path): path for path in rest if path not in images})
        for path in rest:
            found[_cause_of(path, images, disguised)].append(before + path)
    return {cause: sorted(found[cause]) for cause in _WORDS if found[cause]}


def _cause_of(path: str, images: Collection[str], disguised: Collection[str]) -> Cause:
    ending = extension(path)
    if path in images:
        return "unplaced"
    if not ending:
        return "unnamed"
    if ending in disguised:
        return "renamed"
    return "formats" if _NOT_READ.fullmatch(ending) else "others"


def _disguised(listing: Listing, examples: Mapping[str, str]) -> set[str]:
    """List the endings that images hide under, by an example of each ending that is not known."""
    known = (_NOT_READ, _PLAIN)
    unknown = {
        e: path for e, path in examples.items() if e not in EXTENSIONS and not any(k.fullmatch(e) for k in known)
    }
    unknown.pop("", None)
    fs, root = storage_of(listing.root)
    return {e for e, is_image in zip(unknown, are_images(fs, root, [*unknown.values()]), strict=True) if is_image}


def described(found: LeftOut) -> str:
    """Count what is left out by cause, in one line; empty where nothing is."""
    shown = []
    for cause, paths in found.items():
        one, several = _WORDS[cause]
        names = {f".{extension(path)}" for path in paths} if cause in _BY_ENDING else paths
        names = sorted({"no ending" if name == "." else name for name in names})
        shown.append(f"{len(paths):,} {one if len(paths) == 1 else several} ({some(names, _FEW)})")
    return f"left out: {', '.join(shown)}" if shown else ""


_HEADING = "# left out of a data set by shard.py: path, below a line with the cause\n"


def write_list(found: LeftOut, file: str) -> None:
    """Write what is left out into a file: a line with each cause, then the paths, indented.

    Raises:
        DataError: another file is there.
        ResourceError: it cannot be written.
    """
    fs, path = storage_of(file)
    flag, fix = f"--list-left-out {file}", "Name a new file in a folder that is there."
    lines = [_HEADING]
    for cause, paths in found.items():
        lines.append(f"{_WORDS[cause][len(paths) > 1]}, {len(paths)}:\n")
        lines += [f"    {printable(path)}\n" for path in paths]
    try:
        if fs.exists(path) and (fs.isdir(path) or fs.cat_file(path, 0, len(_HEADING)) != _HEADING.encode()):
            found_there = "a folder" if fs.isdir(path) else "a file that holds something else"
            raise DataError(flag, found_there, "a new file, or an older list", fix)
        fs.pipe_file(path, "".join(lines).encode())
    except OSError as error:
        raise ResourceError(flag, f"writing fails ({error})", "a file that can be written", fix) from None


def some(names: Iterable[str], most: int = _FEW) -> str:
    """Write the first of some names, in their order."""
    listed = sorted(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")
