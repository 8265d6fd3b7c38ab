"""List the images of a folder while they are used: page by page, in the order of their paths.

A folder of a million images is not held as a list: `Images` gives pages, and `Ahead` runs a listing ahead of who uses
it, in a thread, so that the number of images is known long before the last is used. What waits there is packed.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, deque
from collections.abc import Collection, Iterator
from itertools import islice
from threading import Condition, Thread

from i2i_core.data.folders.listing import (
    Cause,
    Entry,
    Listing,
    are_images,
    described,
    entries,
    extension,
    folder_of,
    left_out,
    warn_of_special,
)
from i2i_core.images.codec import EXTENSIONS
from i2i_core.images.containers import is_video

PAGE = 1000
"""Files of a page."""

Page = list[Entry]


class Images:
    """List the images below a folder.

    Args:
        uri: the folder.
        flag: the flag that named it.
        skip: paths, and `folder/`s, that are passed over without a word.
        videos: tell videos from what is no image.

    Attributes:
        films: the videos, while there is no image.
        films_left_out: number of videos that lie among images.
        first_film: path of the first of those.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, uri: str, flag: str, skip: Collection[str] = (), videos: bool = False) -> None:
        self.uri, self.flag, self.skip, self.videos = uri, flag, skip, videos
        self.films: list[Entry] = []
        self.films_left_out, self.first_film = 0, ""
        self._some = False
        self.fs, self.root = folder_of(uri, flag)
        self._aside: dict[str, Cause] = {}
        self._others: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._special: list[Entry] = []

    def pages(self) -> Iterator[Page]:
        """Give the images, in the order of their paths. Raises DataError where a folder may not be read."""
        found = entries(self.fs, self.root, f"{self.flag} {self.uri}", self._aside, self.skip)
        while page := [*islice(found, PAGE)]:
            yield self._images(page)
        warn_of_special(self.uri, self._special)

    def _images(self, page: Page) -> Page:
        self._special += [one for one in page if one.special]
        plain = [one for one in page if not one.special]
        bare = [one.path for one in plain if not extension(one.path)]
        unnamed = {path for path, is_image in zip(bare, are_images(self.fs, self.root, bare), strict=True) if is_image}
        taken = []
        for one in plain:
            ending = extension(one.path)
            if ending in EXTENSIONS or one.path in unnamed:
                taken.append(one)
            elif self.videos and is_video(one.path):
                self._film(one)
            elif ending:
                self._others[ending] += 1
                self._examples.setdefault(ending, one.path)
            else:
                self._aside[one.path] = "unnamed"
        self._some = self._some or bool(taken)
        if self._some and self.films:
            self.films_left_out, self.films = self.films_left_out + len(self.films), []
        return taken

    def _film(self, one: Entry) -> None:
        self.first_film = self.first_film or one.path
        if self._some:
            self.films_left_out += 1
        else:
            self.films.append(one)

    def left_out(self) -> str:
        """Count by cause what is no image, in one line; empty where nothing is. Holds once the last page was given."""
        root = str(self.fs.unstrip_protocol(self.root))
        listing = Listing(self.uri, root, dict.fromkeys(self._examples.values(), 0), aside=self._aside)
        found = left_out(listing, ())
        return described({cause: [*self._repeated(paths)] for cause, paths in found.items()})

    def _repeated(self, paths: Collection[str]) -> Iterator[str]:
        """Give an example of an ending as often as there are such files."""
        examples = {*self._examples.values()}
        for path in paths:
            yield from [path] * (self._others[extension(path)] if path in examples else 1)


class Ahead:
    """Run a listing ahead of who uses it. What fails there is raised where it would have come.

    Args:
        pages: the listing.

    Attributes:
        count: files that were listed so far.
        ended: true once all are.
    """

    def __init__(self, pages: Iterator[Page]) -> None:
        self.count, self.ended = 0, False
        self._pages, self._closed = pages, False
        self._error: BaseException | None = None
        self._packed: deque[bytes] = deque()
        self._changed = Condition()
        Thread(target=self._list, name="listing", daemon=True).start()

    def _list(self) -> None:
        try:
            for page in self._pages:
                if self._closed:
                    return
                with self._changed:
                    self._packed.append(packed(page))
                    self.count += len(page)
                    self._changed.notify_all()
        except BaseException as error:  # the caller's, whatever it is
            self._error = error
        finally:
            with self._changed:
                self.ended = True
                self._changed.notify_all()

    def __iter__(self) -> Iterator[Page]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._packed or self.ended)
                page = self._packed.popleft() if self._packed else None
            if page is None:
                break
            yield unpacked(page)
        if self._error:
            raise self._error

    def close(self) -> None:
        """End the listing."""
        self._closed = True


def packed(page: Page) -> bytes:
    """Pack a page: some ten bytes a file, where names count up."""
    return zlib.compress(json.dumps([(one.path, one.size, one.version) for one in page]).encode(), 1)


def unpacked(data: bytes) -> Page:
    """Read what `packed` made."""
    return [Entry(*one) for one in json.loads(zlib.decompress(data))]
