"""A trained method over many images, in this process or on many Ray workers: same bytes either way.

Images are taken in fixed chunks in the order of the input. Within a chunk, images of one size go
through the networks together, always in groups of one shape (the last is filled up by repeating), so
that neither the chunk's size nor the number of workers reaches the arithmetic.

x_CHW one image in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import fsspec
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from i2i_core.data.batch import Bad, scaled
from i2i_core.data.images import ImageOptions, Picture, decode_picture, prepare
from i2i_core.data.transforms import resized
from i2i_core.errors import ConfigError, DataError, ResourceError, RunError, UserError
from i2i_core.evaluation.attributes import attribute_names, columns_of
from i2i_core.evaluation.inputs import Inputs, Split, open_inputs
from i2i_core.evaluation.samples import repeatable
from i2i_core.evaluation.sheet import contact_sheet, png_bytes, to_bytes
from i2i_core.evaluation.targets import Target, parse_target
from i2i_core.methods.base import Method
from i2i_core.paths import absolute
from i2i_core.settings import check_at_least, check_choice, setting
from i2i_core.training.checkpoint import Trained, load_trained

SHEET = "contact_sheet"
SHEET_ROWS = 8
GROUP = 8
"""Images that go through the networks together, up to GROUP_PIXELS each; larger ones go alone."""
GROUP_PIXELS = 256 * 256


@dataclass(frozen=True)
class TranslateOptions:
    """What to translate, how, and where to."""

    input: str = setting("", resume="free")
    """A folder of images, a text file that lists images (one a line), or a data set (folder or URL)."""
    out: str = setting("", resume="free")
    """Folder or URL for NAME.png of each image NAME (.npy for what PNG cannot hold) and contact_sheet.png."""
    split: str = setting("test", resume="free")
    """Split of a data set."""
    target: str = setting("", resume="free")
    """Attributes that are on, all others off: `bold,serif` (`none`: all off). With signs, changes to the
    source's own, which a labelled data set knows: `+bold`; write `--target=-serif`, with the sign of equality."""
    workers: int = setting(1, resume="free")
    """1: in this process; more: as many Ray workers."""
    batch: int = setting(32, resume="free")
    """Images a worker takes at a time."""
    most: int = setting(0, resume="free")
    """Only the first so many images; 0: all."""
    size: int = setting(0, resume="free")
    """Resize to this many pixels square; 0: images go through at their own size."""
    bad: Literal["fail", "skip"] = setting("fail", resume="free")
    """Images that cannot be read are named and left out; `fail` then ends with exit code 1."""
    gpu: bool = setting(False, resume="free")
    """One GPU per worker. Neither --gpu nor --cpu: a GPU where there is one."""
    cpu: bool = setting(False, resume="free")
    """CPU only."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "workers", "batch")
        check_at_least(self, 0, "most", "size")
        check_choice(self, "bad", ("fail", "skip"))
        if self.gpu and self.cpu:
            raise ConfigError("--gpu --cpu", "both", "one of them, or neither", "Remove one.")


@dataclass(frozen=True)
class Job:
    """What every worker knows."""

    checkpoint: str
    inputs: Inputs
    out: str
    target: Target | None
    columns: tuple[int, ...]
    """Where the method's attributes stand in the labels of the data set."""
    size: int
    shown: frozenset[int]
    """Images that come back for the contact sheet."""

    def label(self, i: int) -> np.ndarray:
        """(A,) the target label of an image."""
        assert self.target is not None, "only asked for by methods that have targets"
        own = self.inputs.labels[i, list(self.columns)] if isinstance(self.inputs, Split) else None
        return self.target.label(own)

    def whole_label(self, i: int) -> np.ndarray | None:
        """The label of a data set's sample with the target's attributes in it; None where there are no labels."""
        if self.target is None or not isinstance(self.inputs, Split):
            return None
        label = self.inputs.labels[i].copy()
        label[list(self.columns)] = self.label(i)
        return label


@dataclass(frozen=True)
class Image:
    """An input, decoded: its position, its values (C, H, W) in [-1, 1], and the dtype it was stored as."""

    i: int
    x: Tensor
    dtype: str


Row = dict[str, Tensor | None]
"""A row of the contact sheet: source, translation, truth."""


@dataclass(frozen=True)
class Done:
    """What came of a chunk."""

    written: int
    bad: tuple[Bad, ...]
    rows: dict[int, Row]


@dataclass(frozen=True)
class Outcome:
    """What came of everything."""

    written: int
    bad: tuple[Bad, ...]
    sheet: str


class Translator:
    """One worker: a checkpoint on a device, and a place to write to."""

    def __init__(self, job: Job, trained: Trained) -> None:
        self.job, self.method = job, trained.method
        self.channels = input_channels(self.method)
        self.fs, root = fsspec.core.url_to_fs(job.out)
        self.root = str(root)

    def run(self, chunk: Sequence[int]) -> Done:
        """Translates and writes some images.

        Raises:
            DataError: an image of a size or number of channels that the networks cannot take.
        """
        images, bad = [], []
        for i in chunk:
            try:
                images.append(self._load(i))
            except (FileNotFoundError, IsADirectoryError, PermissionError, ValueError) as error:
                bad.append(Bad(self.job.inputs.names[i], _cause(error)))
        rows: dict[int, Row] = {}
        for group in grouped(images):
            for image, made in zip(group, self._translated(group), strict=True):
                self._write(image, made)
                if image.i in self.job.shown:
                    rows[image.i] = {"source": image.x, "translation": made, "truth": self._truth(image.i)}
        return Done(len(images), tuple(bad), rows)

    def _load(self, i: int) -> Image:
        data, ending = self.job.inputs.fetch(i)
        x = converted(decode_picture(data, ending), self.channels, self.job.inputs.names[i])
        return Image(i, self._tensor(x), str(x.dtype))

    def _tensor(self, x_HWC: np.ndarray) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(x_HWC.transpose(2, 0, 1)))
        return scaled(resized(x, self.job.size) if self.job.size else x)

    def _truth(self, i: int) -> Tensor | None:
        file = self.job.inputs.truth(i, self.job.whole_label(i))
        return None if file is None else self._tensor(decode_picture(*file).pixels)

    def _translated(self, images: Sequence[Image]) -> list[Tensor]:
        """One output per image; the networks see a full group whatever the number of images."""
        x = images[0].x
        full = [images[k % len(images)] for k in range(group_of(x))]
        control: dict[str, Any] = {}
        if self.job.target is not None:
            control["target"] = torch.from_numpy(np.stack([self.job.label(image.i) for image in full]))
        names = self.job.inputs.names
        batch = torch.stack([image.x for image in full]).to(next(self.method.parameters()))
        try:
            with repeatable():
                made = self.method.translate(batch, keys=[names[image.i] for image in full], **control)
        except ConfigError as error:
            where, found = f"image {names[images[0].i]}", f"{x.shape[2]} x {x.shape[1]} pixels (width x height)"
            raise DataError(where, found, error.expected, error.fix.replace("--image-size", "--size")) from None
        return list(made[: len(images)].float().cpu())

    def _write(self, image: Image, made: Tensor) -> None:
        data, ending = to_bytes(made, self._dtype(image))
        path = f"{self.root}/{self.job.inputs.names[image.i]}.{ending}"
        self.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self.fs.pipe_file(path, data)

    def _dtype(self, image: Image) -> str:
        """Of a pair, what the truth is stored as; else as the input."""
        inputs = self.job.inputs
        if isinstance(inputs, Split) and len(inputs.fields) == 2:
            return inputs.data.manifest.fields[inputs.fields[1 - inputs.column]].dtype
        return image.dtype


def _cause(error: Exception) -> str:
    return "no such file" if isinstance(error, FileNotFoundError) else str(error)


def group_of(x_CHW: Tensor) -> int:
    """How many images of that size go through the networks together."""
    return GROUP if x_CHW.shape[1] * x_CHW.shape[2] <= GROUP_PIXELS else 1


def grouped(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Images of one size together, in groups that go through the networks at once."""
    by_size: dict[tuple[int, ...], list[Image]] = {}
    for image in images:
        by_size.setdefault(tuple(image.x.shape), []).append(image)
    for same in by_size.values():
        size = group_of(same[0].x)
        yield from (same[k : k + size] for k in range(0, len(same), size))


def input_channels(method: Method[Any]) -> int:
    """Channels of the images that a method translates."""
    config = method.config
    return int(config.in_channels if hasattr(config, "in_channels") else config.channels)


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
        raise DataError(f"image {name}", f"{have} channels", f"{channels}, which the checkpoint reads", fix)
    wanted: Any = channels if colours != channels else None
    return prepare(picture, ImageOptions(keep_alpha=keep, channels=wanted))


def translate(checkpoint: str, options: TranslateOptions) -> Outcome:
    """Translates what the options name with a run's best checkpoint, or the one named.

    Raises:
        UserError: checkpoint, input, target, sizes or output do not fit.
        RunError: a worker was lost, or not one image could be read.
    """
    checkpoint = absolute(checkpoint, "the checkpoint")
    options = replace(options, input=absolute(options.input, "--input"), out=absolute(options.out, "--out"))
    trained = load_trained(checkpoint, torch.device("cpu"))
    job = prepare_job(checkpoint, trained, options)
    count = len(job.inputs.names)
    count = min(count, options.most) if options.most else count
    job = replace(job, shown=shown_rows(job, count))
    chunks = [range(a, min(a + options.batch, count)) for a in range(0, count, options.batch)]
    run_all = _here if options.workers == 1 else _on_ray
    done = []
    with tqdm(total=count, unit=" images", smoothing=0) as bar:
        for part in run_all(job, trained, chunks, options):
            done.append(part)
            bar.update(part.written + len(part.bad))
    return _finish(job, done)


def prepare_job(checkpoint: str, trained: Trained, options: TranslateOptions) -> Job:
    """Everything checked that can be before a worker starts. Raises UserError as `translate`."""
    method = trained.method
    check_out(options.out)
    inputs = open_inputs(
        options.input, options.out, options.split, method.needs.kind, trained.config.data.direction, (SHEET,)
    )
    target, columns = _target(method, inputs, options.target)
    return Job(checkpoint, inputs, options.out, target, columns, options.size, frozenset())


def _target(method: Method[Any], inputs: Inputs, text: str) -> tuple[Target | None, tuple[int, ...]]:
    """The target, and where the method's attributes stand in the input's labels."""
    if method.needs.kind != "labelled":
        if text:
            raise ConfigError("--target", repr(text), "none: this method has one output", "Leave --target out.")
        return None, ()
    target = parse_target(text, attribute_names(method), method.config.labels == "classes")
    if isinstance(inputs, Split):
        return target, tuple(columns_of(method, inputs.data.manifest))
    if target.edit:
        fix = "Name all that is to be on, without signs: for example --target " + ",".join(target.names[:2]) + "."
        raise ConfigError("--target", f"{text!r} for images without labels", "a labelled data set as --input", fix)
    return target, ()


def check_out(out: str) -> None:
    """Raises ResourceError when nothing can be written there."""
    if not out:
        raise ConfigError("--out", "nothing", "a folder or URL for the outputs", "Name it with --out.")
    fs, root = fsspec.core.url_to_fs(out)
    try:
        fs.makedirs(root, exist_ok=True)
        fs.pipe_file(f"{root}/.probe", b"-")
        fs.rm(f"{root}/.probe")
    except Exception as error:  # each filesystem has its own kinds
        found = f"{out}, where writing fails ({error})"
        raise ResourceError("--out", found, "a place that can be written", "Name another.") from None


def shown_rows(job: Job, count: int) -> frozenset[int]:
    """The first images; of a labelled data set, first those that the target changes and whose truth is known."""

    def rank(i: int) -> int:
        label = job.whole_label(i)
        if label is None or not isinstance(job.inputs, Split):
            return 0
        changed = bool((label != job.inputs.labels[i]).any())
        return 2 - changed - (changed and job.inputs.twin(i, label) is not None)

    pool = range(min(count, 64 * SHEET_ROWS))
    return frozenset(sorted(pool, key=rank)[:SHEET_ROWS])


def _here(job: Job, trained: Trained, chunks: Sequence[range], options: TranslateOptions) -> Iterator[Done]:
    has = torch.cuda.is_available()
    if options.gpu and not has:
        raise ResourceError("--gpu", "no GPU that torch can use", "one", "Leave --gpu out, or use --cpu.")
    trained.method.to("cuda" if has and not options.cpu else "cpu")
    yield from map(Translator(job, trained).run, chunks)


def _worker(job: Job, gpu: bool) -> Translator:
    """Made on a Ray worker."""
    if not gpu:
        torch.set_num_threads(1)
    return Translator(job, load_trained(job.checkpoint, torch.device("cuda" if gpu else "cpu")))


def _on_ray(job: Job, trained: Trained, chunks: Sequence[range], options: TranslateOptions) -> Iterator[Done]:
    """Chunks over Ray actors, each with the checkpoint loaded; results as they come."""
    import ray  # late: in this process it goes without
    from ray.util import ActorPool

    from i2i_core.orchestration.cluster import connect

    connect()
    has = ray.cluster_resources()
    gpu = options.gpu or (not options.cpu and has.get("GPU", 0) > 0)
    kind, held = ("GPU", int(has.get("GPU", 0))) if gpu else ("CPU", int(has.get("CPU", 0)))
    if held < options.workers:
        fix = f"Use --workers {held}." if held else "Use --cpu."
        raise ResourceError("--workers", str(options.workers), f"at most the cluster's {held} {kind}s", fix)
    actor, shared = ray.remote(num_cpus=0 if gpu else 1, num_gpus=int(gpu))(_Actor), ray.put(job)
    actors = [actor.remote(shared, gpu) for _ in range(min(options.workers, len(chunks)))]
    try:
        yield from ActorPool(actors).map_unordered(lambda worker, chunk: worker.run.remote(chunk), chunks)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise RunError(f"a worker was lost ({str(error).splitlines()[0]}); run the same command again") from error
    finally:
        for handle in actors:
            ray.kill(handle)


class _Actor:
    """A Translator that lives on a Ray worker."""

    def __init__(self, job: Job, gpu: bool) -> None:
        self.translator = _worker(job, gpu)

    def run(self, chunk: range) -> Done:
        return self.translator.run(chunk)


def _finish(job: Job, done: Sequence[Done]) -> Outcome:
    """The contact sheet, and the sum of it all, in the order of the input."""
    rows = dict(sorted((i, row) for part in done for i, row in part.rows.items()))
    order = {name: i for i, name in enumerate(job.inputs.names)}
    bad = tuple(sorted((b for part in done for b in part.bad), key=lambda b: order[b.key]))
    written = sum(part.written for part in done)
    if not written:
        causes = "; ".join(f"{b.key}: {b.cause}" for b in bad[:3])
        raise RunError(f"not one image could be translated ({causes or 'the input is empty'})")
    title = f"translation {job.target.title}" if job.target else "translation"
    columns = {name: [row[name] for row in rows.values()] for name in ("source", "translation", "truth")}
    columns = {title if name == "translation" else name: c for name, c in columns.items() if _any(c)}
    fs, root = fsspec.core.url_to_fs(job.out)
    fs.pipe_file(f"{root}/{SHEET}.png", png_bytes(contact_sheet(columns)))
    return Outcome(written, bad, f"{job.out.rstrip('/')}/{SHEET}.png")


def _any(column: Sequence[Tensor | None]) -> bool:
    return any(x is not None for x in column)
