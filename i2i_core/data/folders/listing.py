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
from i2i_core.storage.paths import special_kind
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


@dataclass(frozen=True, slots=True)
class Entry:
    """Describe a listed file: its path below the folder, its bytes, and a text that changes where the file does."""

    path: str
    size: int
    version: str
    special: str = ""
    """Kind of a special file, which is never opened."""


def list_files(uri: str, flag: str = "--input") -> Listing:
    """List everything below a folder or URL. Links to local folders are followed, each place for itself; a link back to
    a folder above it is left out.

    Raises:
        DataError: nothing there, not a folder, or a folder that may not be read.
    """
    fs, root = folder_of(uri, flag)
    aside: dict[str, Cause] = {}
    found = list(entries(fs, root, f"{flag} {uri}", aside))
    warn_of_special(uri, [one for one in found if one.special])
    sizes = {one.path: one.size for one in found if not one.special}
    bare = [path for path in sizes if not extension(path)]
    unnamed = frozenset(path for path, is_image in zip(bare, are_images(fs, root, bare), strict=True) if is_image)
    return Listing(uri, fs.unstrip_protocol(root), sizes, (), unnamed, aside)


def folder_of(uri: str, flag: str) -> tuple[Any, str]:
    """Find the filesystem of a folder, and its path there. Raises DataError where there is none."""
    if not uri:
        raise DataError(flag, "nothing", "a folder or URL with images", f"Name it with {flag} DIR.")
    fs, root = storage_of(uri.rstrip("/") or uri)
    if not fs.isdir(root):
        found = "a file" if fs.exists(root) else "nothing at that place"
        raise DataError(f"{flag} {uri}", found, "a folder or URL with images", corrected(uri))
    return fs, root


def entries(fs: Any, root: str, where: str, aside: dict[str, Cause], skip: Collection[str] = ()) -> Iterator[Entry]:
    """Give the files below a folder, in the order of their paths, as they are found.

    Args:
        where: names the folder in messages.
        aside: filled with what is left out: a path, or `folder/`, and why.
        skip: paths, and `folder/`s, that are passed over without a word.

    Raises:
        DataError: a folder may not be read, or links lead to one of them at too many places.
    """
    return _linked(root, where, aside, skip) if is_local(fs) else _remote(fs, root, aside, skip)


def warn_of_special(uri: str, found: Sequence[Entry]) -> None:
    """Log which special files (devices, sockets, named pipes) are left out: they are never opened."""
    if odd := [f"{one.path} ({one.special})" for one in found]:
        logger.warning(f"{uri}: left out {counted(len(odd), 'special file')}: {some(odd, MOST_NAMED)}")


def _odd(name: str) -> Cause | None:
    """Tell why a file or folder of that name is not listed, if it is not."""
    if _IS_TOOLS.match(name):
        return "tools"
    return "hidden" if name.startswith(".") else None


def _remote(fs: Any, root: str, aside: dict[str, Cause], skip: Collection[str]) -> Iterator[Entry]:
    """Give the files below a folder of a remote storage."""
    start, passed = len(root.rstrip("/")) + 1, tuple(skip)
    known: dict[str, Cause | None] = {}
    for info in fs.each(root):
        path = info["name"][start:]
        if passed and path.startswith(passed):
            continue
        *folders, name = path.split("/")
        for depth, folder in enumerate(folders, start=1):
            if folder not in known:
                known[folder] = _odd(folder)
            if cause := known[folder]:
                aside["/".join(folders[:depth]) + "/"] = cause
                break
        else:
            if cause := _odd(name):
                aside[path] = cause
            else:
                yield Entry(path, int(info.get("size") or 0), version_of(info))


def version_of(info: Mapping[str, Any]) -> str:
    """Give a text that changes where a file does: its bytes, and what its filesystem says of it besides."""
    names = ("ETag", "etag", "md5Hash", "content_md5", "updated", "LastModified", "last_modified", "mtime", "created")
    change = next((str(info[name]).strip('"') for name in names if info.get(name)), "")
    return f"{int(info.get('size') or 0)}-{change}"


def _linked(root: str, where: str, aside: dict[str, Cause], skip: Collection[str]) -> Iterator[Entry]:
    """Give the local files that are listed, also below links to folders, except links back to a folder above."""
    top = os.path.realpath(root)
    open_folders = [(root, "", frozenset({top}), _names(root, root, where))]
    visits: Counter[str] = Counter()
    while open_folders:
        folder, below, known, names = open_folders[-1]
        if not names:
            open_folders.pop()
            continue
        name = names.pop()
        full, path = f"{folder.rstrip('/')}/{name}", below + name
        if path in skip:
            continue
        if not name.endswith("/"):
            if entry := _entry(full, path, name, aside):
                yield entry
            continue
        real = os.path.realpath(full)
        cause: Cause | None = "loops" if real in known else _odd(name[:-1])  # a loop would not end
        if cause:
            aside[path] = cause
            continue
        visits[real] += 1
        if visits[real] > MOST_VISITS:
            found = f"links that lead to {real} at more than {MOST_VISITS} places"
            raise DataError(where, found, "each folder at a few places", "Remove the links among folders.")
        open_folders.append((full.rstrip("/"), path, known | {real}, _names(full.rstrip("/"), root, where)))


def _names(folder: str, root: str, where: str) -> list[str]:
    """List a local folder, the last name first; folders end with `/`, and stand where their files do."""
    try:
        with os.scandir(folder) as found:
            return sorted((f"{one.name}/" if _leads_on(one) else one.name for one in found), reverse=True)
    except OSError as error:
        found_there = f"{printable(os.path.relpath(folder, root))}: {error.strerror}"
        fix = "Make it readable for this account, or move it out of the folder."
        raise DataError(where, found_there, "folders that can be read", fix) from None


def _leads_on(found: os.DirEntry[str]) -> bool:
    """Tell whether it is a folder, or a link to one."""
    try:
        return found.is_dir()
    except OSError:
        return False


def _entry(full: str, path: str, name: str, aside: dict[str, Cause]) -> Entry | None:
    """Describe a local file; None where it is left out."""
    cause = _odd(name)
    try:
        about = os.stat(full)
    except OSError:  # nothing is at the end of a link
        if not (cause := cause or (None if extension(name) in EXTENSIONS else "nowhere")):
            return Entry(path, 0, "0-")
        about = None
    if cause or not about:
        aside[path] = cause or "nowhere"
        return None
    return Entry(path, about.st_size, _version(about), special_kind(about.st_mode))


def _version(about: os.stat_result) -> str:
    return f"{about.st_size}-{about.st_mtime_ns}"


def version_here(path: str) -> str:
    """Give a text that changes where a local file does; empty where there is none."""
    try:
        return _version(os.stat(path))
    except OSError:
        return ""


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
