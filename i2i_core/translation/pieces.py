"""Translate inputs in pieces, as many as they are: what is done is passed over, what comes out is written down.

`Pieces` cuts the input into pieces while it is still being listed, and sums up what comes back; `run` is what one
worker does with a piece. The driver holds a few numbers of an image (`hashes`), and its name only until a worker has
it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from i2i_core.batch import Bad
from i2i_core.checkpoints.trained import Trained
from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import RunError
from i2i_core.methods.at_test import words
from i2i_core.settings import flag
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import is_local
from i2i_core.storage.retry import FULL
from i2i_core.translation import ledger
from i2i_core.translation.hashes import Hashes, hashes
from i2i_core.translation.inputs import Files, Split, check_names
from i2i_core.translation.ledger import LEFT_OUT, MADE, Ledger, key_of
from i2i_core.translation.loading import File
from i2i_core.translation.translator import Done, Row, TranslationJob, Translator

AT_FIRST = 10_000
"""Images of a folder that are listed before the first is translated, so that what is wrong with most folders is said
before that."""
AT_ONCE = 1024
"""Inputs that are looked up together."""
MOST_OUTPUTS = 50_000
"""Outputs of a piece, at most."""
THREADS = 16
"""Files that a worker reads or writes together on object storage."""
FREE = {"out", "workers", "batch", "most", "bad", "gpu", "cpu", "overwrite", "shards", "shards_at", "at_test"}
"""Options on which an output does not depend, or (`at_test`) that are named as the checkpoint reads them."""


def depends_on(job: TranslationJob, trained: Trained, options: TranslateOptions) -> dict[str, str]:
    """Describe everything that outputs depend on besides the images, by flag or name."""
    given = {field.name: getattr(options, field.name) for field in fields(options) if field.name not in FREE}
    plain = TranslateOptions()
    flags = {flag(name): str(value) for name, value in given.items() if value != getattr(plain, name)}
    found = {
        "checkpoint": f"{trained.config.method} of {trained.images} images ({trained.identity[:12]})",
        **flags,
        "--input": options.input.rstrip("/"),
        "codes": sha256(repr(job.codes).encode())[:12] if job.codes else "",
        "examples": sha256(job.examples.numpy().tobytes())[:12] if job.examples is not None else "",
        "data": job.inputs.data.manifest.fingerprint[:12] if isinstance(job.inputs, Split) else "",
        "networks": words(trained.method.makers, trained.at_test(job.at_test)),
    }
    return {name: text for name, text in found.items() if text}


@dataclass(frozen=True)
class Piece:
    """Name the inputs that a worker takes together.

    Attributes:
        at: their positions.
        labels: as the ledger names them.
        versions: texts that change where the inputs do; empty: unknown.
        paths, names: of files; (): the worker knows them by their positions.
        noted: true for those that the ledger has already: they are made again for what comes after them.
    """

    at: tuple[int, ...]
    labels: tuple[str, ...]
    versions: tuple[str, ...]
    paths: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    noted: tuple[bool, ...] = ()

    @property
    def keys(self) -> list[str]:
        """Name the inputs as they are now."""
        return list(map(key_of, self.labels, self.versions))

    def some(self, chosen: Iterable[int]) -> Piece:
        """Take some of them."""
        kept = [*chosen]
        columns = (self.at, self.labels, self.versions, self.paths, self.names)
        return Piece(*(tuple(column[k] for k in kept) if column else () for column in columns))  # type: ignore[arg-type]

    def __add__(self, other: Piece) -> Piece:
        columns = ("at", "labels", "versions", "paths", "names")
        return Piece(*(getattr(self, name) + getattr(other, name) for name in columns))


@dataclass(frozen=True)
class Part:
    """Report a piece.

    Attributes:
        written: images that were made.
        bad: what could not be, with its position.
        rows: of the contact sheet, by position.
        far: images whose size is far from training's.
        first_far: position, height, width and name of the first of those.
        laid: images whose transparent pixels were laid over a colour.
        first_laid: position and name of the first of those.
        file, lines: the rows that the worker has left in the ledger, and where.
    """

    written: int
    bad: tuple[tuple[int, Bad], ...]
    rows: dict[int, Row]
    far: int
    first_far: tuple[int, int, int, str] | None
    laid: int
    first_laid: tuple[int, str] | None
    file: str
    lines: tuple[bytes, ...]


# ---- the driver ----


class Pieces:
    """Cut the inputs of a job into pieces, and sum up what comes of them.

    Args:
        job: what is to be done.
        book: its ledger, open.
        batch: images of a piece.
        most: images to translate, from the first on; 0: all.
        memory: true for methods with a memory, whose pieces are clips.

    Attributes:
        written: images that are made, now or before.
        before: those that were made before.
        bad: what was left out, with its position.
        rows: of the contact sheet.
        far, first_far, laid, first_laid: as of a part.
    """

    def __init__(self, job: TranslationJob, book: Ledger, batch: int, most: int, memory: bool) -> None:
        self.job, self.book, self.most, self.memory = job, book, most, memory
        self.size = max(1, min(batch, MOST_OUTPUTS // len(job.titles)))
        self.before = self.written = self.far = self.laid = 0
        self.bad: list[tuple[int, Bad]] = []
        self.rows: dict[int, Row] = {}
        self.first_far: tuple[int, int, int, str] | None = None
        self.first_laid: tuple[int, str] | None = None

    @property
    def count(self) -> int | None:
        """Number of images to translate; None while they are being listed."""
        inputs = self.job.inputs
        more = inputs.more.pages if isinstance(inputs, Files) and inputs.more else None
        known = len(inputs.names) + (more.count if more else 0)
        if self.most and self.most <= known:
            return self.most
        return known if not more or more.ended else None

    def for_workers(self) -> TranslationJob:
        """Give the job without the files' names, which come with the pieces."""
        inputs = self.job.inputs
        return replace(self.job, inputs=Files(inputs.fs, (), ())) if isinstance(inputs, Files) else self.job

    def __iter__(self) -> Iterator[Piece]:
        if self.memory:
            yield from self._clips()
            return
        rest = Piece((), (), ())
        for page in self._pages():
            done = self.book.has(page.keys)
            self._pass(int(done.sum()))
            rest += page.some(k for k in range(len(page.at)) if not done[k])
            whole = len(rest.at) - len(rest.at) % self.size
            for start in range(0, whole, self.size):
                yield self._noted(rest.some(range(start, start + self.size)))
            rest = rest.some(range(whole, len(rest.at)))
        if rest.at:
            yield self._noted(rest)

    def _pass(self, count: int) -> None:
        self.before += count
        self.written += count

    def _noted(self, piece: Piece) -> Piece:
        self.book.replaces(piece.labels)
        return piece

    def _pages(self) -> Iterator[Piece]:
        """Give all inputs, as many at a time as are looked up together."""
        left = self.most or -1
        for first, inputs in self._inputs():
            for start in range(0, len(inputs.names), AT_ONCE):
                some = range(start, min(start + AT_ONCE, len(inputs.names)))
                some = some[:left] if left >= 0 else some
                if not some:
                    return
                left -= len(some) if left > 0 else 0
                yield _page(inputs, some, first)

    def _inputs(self) -> Iterator[tuple[int, Any]]:
        """Give the inputs that are listed, then those that come, each with the position of its first."""
        inputs = self.job.inputs
        yield 0, inputs
        if not isinstance(inputs, Files) or not inputs.more:
            return
        first, seen = len(inputs.names), Hashes()
        seen.add(hashes(inputs.names))
        try:
            for page in inputs.more:
                check_names(page, seen=seen)
                yield first, page
                first += len(page.names)
        finally:
            inputs.more.pages.close()

    def _clips(self) -> Iterator[Piece]:
        left = self.most or len(self.job.inputs.names)
        for clip in self.job.inputs.clips():
            if not (some := clip[: max(left, 0)]):
                return
            left -= len(some)
            piece = _page(self.job.inputs, some, 0)
            done = self.book.has(piece.keys)
            if done.all():
                self._pass(len(some))
                continue
            self.book.replaces([label for label, is_done in zip(piece.labels, done, strict=True) if not is_done])
            yield replace(piece, noted=tuple(done.tolist()))

    def add(self, part: Part) -> None:
        """Add what a worker reported."""
        self.book.take(part.file, part.lines)
        self.written += part.written
        self.bad += part.bad
        self.rows |= part.rows
        self.far += part.far
        self.first_far = min(filter(None, (self.first_far, part.first_far)), default=None)
        self.laid += part.laid
        self.first_laid = min(filter(None, (self.first_laid, part.first_laid)), default=None)


def _page(inputs: Any, some: Sequence[int], first: int) -> Piece:
    """Name some inputs."""
    at, names = tuple(first + i for i in some), tuple(inputs.names[i] for i in some)
    if not isinstance(inputs, Files):
        return Piece(at, names, ("",) * len(at))
    versions = tuple(inputs.versions[i] if inputs.versions else "" for i in some)
    return Piece(at, tuple(inputs.label(i) for i in some), versions, tuple(inputs.paths[i] for i in some), names)


# ---- a worker ----


def run(translator: Translator, piece: Piece) -> Part:
    """Translate a piece and write its rows.

    Raises:
        UserError: as `Translator.run`; an image that the networks cannot take is left out, unless it is the first.
        RunError: there is no room for the outputs.
    """
    job = translator.job
    chunk: Sequence[int] = range(len(piece.at)) if piece.paths else piece.at
    if piece.paths:
        assert isinstance(job.inputs, Files), "pieces of files have paths"
        shown = frozenset(k for k, i in enumerate(piece.at) if i in job.shown)
        inputs = (Files if is_local(job.inputs.fs) else Fetched)(job.inputs.fs, piece.paths, piece.names)
        translator.job = replace(job, inputs=inputs, shown=shown)
    translator.refuses = frozenset(k for k, i in zip(chunk, piece.at, strict=True) if i == 0)
    try:
        with room_at(job.out):
            with together(translator):
                done = translator.run(chunk)
            return _part(translator, piece, chunk, done)
    finally:
        translator.job = job


@contextmanager
def room_at(out: str) -> Iterator[None]:
    """Raise RunError where the disk of the outputs is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        fix = "Make room there, and run the same command again: it goes on"
        raise RunError(f"{out} has no room ({error.strerror}). {fix}") from None


def _part(translator: Translator, piece: Piece, chunk: Sequence[int], done: Done) -> Part:
    position = dict(zip(chunk, piece.at, strict=True))
    causes = {bad.key: bad for bad in done.bad}
    bad, rows = [], []
    for k, i in enumerate(chunk):
        if found := causes.get(translator.job.inputs.names[i]):
            bad.append((piece.at[k], found))
            row = ledger.Row(piece.labels[k], piece.versions[k], LEFT_OUT, cause=found.cause)
        else:
            paths, sizes = zip(*translator.outputs[i], strict=True)
            row = ledger.Row(piece.labels[k], piece.versions[k], MADE, paths, sizes)
        if not (piece.noted and piece.noted[k]):
            rows.append(row)
    file = ledger.note(translator.job.out, rows)
    far = min(((position[i], *size, translator.job.inputs.names[i]) for i, *size in done.far), default=None)
    laid = min(((position[i], translator.job.inputs.names[i]) for i in done.laid), default=None)
    shown = {position[i]: row for i, row in done.rows.items()}
    lines = tuple(row.line() for row in rows)
    return Part(done.written, tuple(bad), shown, len(done.far), far, len(done.laid), laid, file, lines)  # type: ignore[arg-type]


class Fetched(Files):
    """Read files of object storage, many at once."""

    held: dict[int, Any] | None = None

    def fetch(self, i: int, name: str = "") -> File:
        self.held = {} if self.held is None else self.held
        if i not in self.held:
            some = range(i, min(i + THREADS, len(self.paths)))
            whole = [None] * len(some)
            found = self.fs.cat_ranges([self.paths[k] for k in some], whole, whole, on_error="return")
            self.held = dict(zip(some, found, strict=True))
        found = self.held.pop(i)
        if isinstance(found, Exception):
            raise found
        return found, self.ending(i)


class Together:
    """Write files to object storage, many at once."""

    def __init__(self, fs: Any, pool: ThreadPoolExecutor) -> None:
        self.fs, self.pool = fs, pool
        self.waiting: deque[Future[None]] = deque()

    def makedirs(self, path: str, exist_ok: bool) -> None:
        """Do nothing: object storage has no folders."""

    def pipe_file(self, path: str, data: bytes) -> None:
        """Write a file, by and by; raise what an earlier one raised."""
        if len(self.waiting) >= 4 * THREADS:
            self.waiting.popleft().result()
        self.waiting.append(self.pool.submit(self.fs.pipe_file, path, data))


@contextmanager
def together(translator: Translator) -> Iterator[None]:
    """Let a translator write to object storage by many threads, all of whose files are there after the block."""
    fs = translator.fs
    if is_local(fs):
        yield
        return
    with ThreadPoolExecutor(THREADS) as pool:
        translator.fs = Together(fs, pool)
        try:
            yield
            for written in translator.fs.waiting:
                written.result()
        finally:
            translator.fs = fs
