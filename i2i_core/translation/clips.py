"""Translate videos on one worker: frames are decoded, go through the networks in groups, and are encoded, as they come.

All frames of a clip have the same codes and noise, seeded by the clip's name, so that nothing flickers that the
networks do not make flicker. Methods with a memory make each frame with that of the frame before.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

from i2i_core.batch import Bad
from i2i_core.checkpoints.trained import Trained
from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import ConfigError, DataError, RunError, counted
from i2i_core.images.codec import EXTENSIONS, Picture
from i2i_core.images.containers import is_video
from i2i_core.images.ffmpeg import INSTALL, package
from i2i_core.images.sheet import to_array
from i2i_core.images.video import Clip, Frame
from i2i_core.images.video_writer import ENCODERS, Writer, encoder
from i2i_core.methods.base import Direction, Method, sides
from i2i_core.storage.folder import Folder
from i2i_core.storage.remote import storage_of
from i2i_core.translation.codes import Drawn, Given
from i2i_core.translation.inputs import Clips, Files, Inputs
from i2i_core.translation.loading import as_taken, converted
from i2i_core.translation.translator import UNREADABLE, Image, TranslationJob, Translator, group_of

logger = logging.getLogger(__name__)

OUT = "mp4"
"""End of the names of the videos that are made."""
MOST_OUTPUTS = 16
"""Most outputs of one clip: each has an encoder of its own, which holds some frames."""


@dataclass(frozen=True)
class Filmed:
    """Describe a video that was made."""

    place: str
    frames: int
    size: tuple[int, int]
    """Height and width."""
    rate: float
    """Frames a second, on average."""
    variable: bool
    seconds: float
    copied: tuple[str, ...] = ()
    """Codecs of the sound that was copied."""
    dropped: tuple[str, ...] = ()
    """Codecs of sound that MP4 cannot hold."""
    pixels: str = "yuv420p"
    flaws: tuple[str, ...] = ()
    """Flaws of the source, in words."""

    @property
    def line(self) -> str:
        """Describe it in one line."""
        height, width = self.size
        rate = f"{self.rate:.4g} fps{' on average, at times of their own' if self.variable else ''}"
        parts = [counted(self.frames, "frame"), rate, f"{width}x{height}", f"{self.seconds:.2f} s", self.sound]
        parts += ["4:4:4, for its size is odd, which some players do not show"] if self.pixels == "yuv444p" else []
        return f"{self.place}: {', '.join([*parts, *self.flaws])}"

    @property
    def sound(self) -> str:
        """Say what became of the sound."""
        kept = f"audio copied ({', '.join(self.copied)})" if self.copied else ""
        lost = f"audio left out (MP4 cannot hold {', '.join(self.dropped)})" if self.dropped else ""
        return "; ".join(filter(None, [kept, lost])) or "no audio"


@dataclass(frozen=True)
class ClipJob:
    """Hold everything that a worker needs to translate clips.

    Args:
        job: inputs, the outputs' folder, target, codes, and how frames are read.
        stem: name of the one output, without its ending; empty: outputs have the names of their clips.
        most: frames of each clip, from the first on; 0: all.
        square: frames are stretched, so that their pixels become square.
    """

    job: TranslationJob
    stem: str = ""
    most: int = 0
    square: bool = False

    @property
    def checkpoint(self) -> str:
        """Place of the checkpoint that workers load."""
        return self.job.checkpoint

    def worker(self, trained: Trained) -> ClipTranslator:
        """Make the worker that does this job with a loaded checkpoint."""
        trained.method.at_test = trained.at_test(self.job.at_test)
        return ClipTranslator(self, trained)

    def path(self, i: int, output: int) -> str:
        """Name an output's file in the folder."""
        name = self.job.name(i, output)
        return f"{self.stem + name[len(self.job.inputs.names[i]) :] if self.stem else name}.{OUT}"


def _names_a_video(out: str) -> bool:
    """Tell if --out names a video by its ending; a bucket may be called so too."""
    return is_video(out) and not out.rpartition("/")[0].endswith(":/")


def folder_of(out: str) -> str:
    """Give the folder that outputs are written into: --out, or the one that it names a video in."""
    return (out.rpartition("/")[0] or "/.") if _names_a_video(out) else out


def stem_of(out: str) -> str:
    """Give the name that --out has for a single video, without its ending; empty where --out is a folder."""
    return out.rpartition("/")[2].rpartition(".")[0] if _names_a_video(out) else ""


def check_out_name(out: str, inputs: Inputs) -> None:
    """Check that --out can be where outputs of these inputs lie. Raises ConfigError."""
    films = isinstance(inputs, Clips)
    ending = out.rpartition("/")[2].rpartition(".")[2].lower() if "." in out.rpartition("/")[2] else ""
    if films and _names_a_video(out) and ending != OUT:
        fix = f"Name it {stem_of(out)}.{OUT}, or name a folder."
        raise ConfigError("--out", f"{out}, by its name .{ending}", "a video in MP4, which is what is written", fix)
    if films and len(inputs.names) > 1 and _names_a_video(out):
        found = f"{out}, the name of one video, for {len(inputs.names):,}"
        raise ConfigError("--out", found, "a folder or URL for the outputs", "Name a folder.")
    if (_names_a_video(out) and not films) or ending in EXTENSIONS:
        what = "an image" if ending in EXTENSIONS else "a video"
        fix = "Name a folder: outputs keep their inputs' names in it."
        raise ConfigError("--out", f"{out}, the name of {what}", "a folder or URL for the outputs", fix)


def check_clips(clips: Clips, options: TranslateOptions, method: Method[Any], way: Direction) -> None:
    """Check that clips can be translated by the method, as the options ask.

    Raises:
        ConfigError: an option that clips do not have, or a method that makes other images than grey or RGB ones.
        DataError: the package that reads videos is missing, or the method takes other channels.
    """
    where = f"--input {clips.paths[0]}"
    try:
        package()
    except ValueError as error:
        fix = f"Install it ({INSTALL}; it is this project's extra `video`)."
        raise DataError(where, str(error).partition(":")[0], "that package, PyAV", fix) from None
    if options.keep_alpha:
        expected = "images in files: the videos that are made are opaque"
        raise ConfigError("--keep-alpha", "videos", expected, "Leave --keep-alpha out.")
    if options.tile:
        fix = "Leave --tile out; --longer-side 1024, say, bounds the memory that large frames take."
        raise ConfigError("--tile", "videos", "images in files: frames go through whole", fix)
    if options.overwrite:
        expected = "images in files: videos of the same names are replaced in any case"
        raise ConfigError("--overwrite", "videos", expected, "Leave --overwrite out.")
    if options.workers > 1 and len(clips.names) == 1:
        found, expected = f"{options.workers} for one clip", "1: the frames of a clip are made by one worker"
        raise ConfigError("--workers", found, expected, "Leave --workers out, or name a folder of clips.")
    channels, (taken, made) = method.channels(), sides(method, way)
    for name in taken:
        converted(Picture(np.zeros((1, 1, 3), np.uint8)), channels[name], where)
    if odd := next((name for name in made if channels[name] not in (1, 3)), ""):
        found = f"a video, for a checkpoint that makes images of {channels[odd]} channels"
        raise ConfigError("--input", found, "grey or RGB ones, which a video holds", "Extract its frames as images.")


def check_outputs(job: TranslationJob, stem: str) -> None:
    """Check that a clip has no more outputs than can be written at once, and that none takes the place of a clip.

    Raises:
        ConfigError: naming the flag that asks for outputs, or --out.
    """
    if (each := len(job.titles)) > MOST_OUTPUTS:
        flag = "--samples" if isinstance(job.codes, Drawn) else "--interpolate"
        flag = "--like" if isinstance(job.codes, Given) else flag
        expected = f"at most {MOST_OUTPUTS} of a video"
        raise ConfigError(flag, f"{each:,} outputs of each clip", expected, f"Ask for {MOST_OUTPUTS} or fewer.")
    inputs, film = job.inputs, ClipJob(job, stem)
    fs, root = storage_of(job.out.rstrip("/") or job.out)
    assert isinstance(inputs, Clips), "only asked for of clips"
    if fs.protocol != inputs.fs.protocol:
        return
    paths = set(inputs.paths)
    for i in range(len(inputs.names)):
        for output in range(each):
            if (place := f"{root.rstrip('/')}/{film.path(i, output)}") in paths:
                found = f"{place}, where an output would take the place of the input"
                raise ConfigError("--out", found, "another name", "Name another file or folder for the outputs.")


class ClipTranslator:
    """Translate clips of a job with a checkpoint on a device, and write the outputs."""

    def __init__(self, film: ClipJob, trained: Trained) -> None:
        self.film, self.trained = film, trained
        self.method: Method[Any] = trained.method
        (self.taken,), _ = sides(self.method, film.job.way)
        self.channels = self.method.channels()[self.taken]
        if (name := encoder()) != next(iter(ENCODERS)):
            logger.warning(f"this build of FFmpeg writes no H.264 ({next(iter(ENCODERS))}): videos are made by {name}")

    def run(self, i: int, tick: Callable[[int], Any] = lambda count: None) -> tuple[Filmed, ...] | Bad:
        """Translate a clip, and describe its outputs; or say why it has none.

        Args:
            tick: called with a number of frames that are done.

        Raises:
            RunError: outputs cannot be written.
        """
        clips, name = self.film.job.inputs, self.film.job.inputs.names[i]
        assert isinstance(clips, Clips), "the driver has opened them"
        try:
            with closing(clips.opened(i)) as clip:
                return self._run(i, clip, tick)
        except FileNotFoundError:
            return Bad(name, "no such file")
        except UNREADABLE as error:
            return Bad(name, str(error))

    def _run(self, i: int, clip: Clip, tick: Callable[[int], Any]) -> tuple[Filmed, ...]:
        name = self.film.job.inputs.names[i]
        for note in clip.notes:
            logger.info(f"{name}: {note}")
        with Outputs(self.film, i, clip) as outputs:
            for frame, made in self.made(name, clip.frames(self.film.most, outputs.sound)):
                outputs.add(frame, made)
                tick(1)
            for flaw in clip.flaws:
                logger.warning(f"{name}: {flaw}")
            return outputs.publish()

    def made(self, name: str, frames: Iterator[Frame]) -> Iterator[tuple[Frame, list[Tensor]]]:
        """Yield each frame with what the networks make of it, (C, H, W) in [-1, 1]; a few are held at a time.

        Args:
            name: of the clip: it seeds the codes and the noise of all frames.

        Raises:
            ValueError: the networks do not take a frame.
        """
        own = replace(self.film.job, inputs=Files(None, [name], [name]))  # every frame is the first image of it
        translator, waiting = Translator(own, self.trained), deque[Frame]()

        def images() -> Iterator[Image]:
            for frame in frames:
                x = as_taken(Picture(frame.pixels), self.channels, self.film.job.loading, name).x
                waiting.append(frame)
                yield Image(0, {self.taken: x}, "uint8")

        for _, made in self._translated(translator, images(), name):
            if isinstance(made, Bad):
                raise ValueError(made.cause)
            yield waiting.popleft(), made

    def _translated(
        self, translator: Translator, images: Iterator[Image], name: str
    ) -> Iterator[tuple[Image, list[Tensor] | Bad]]:
        if self.method.memory:
            yield from translator.translated(images, name)
            return
        for first in images:
            group = [first, *islice(images, group_of(first) - 1)]
            yield from translator.translated(group)


class Outputs:
    """Write the outputs of a clip beside their places, and put them there once all are whole."""

    def __init__(self, film: ClipJob, i: int, clip: Clip) -> None:
        self.film, self.i, self.clip = film, i, clip
        self.folder = Folder(film.job.out)
        self.writers: list[Writer] = []
        self.temporary: list[str] = []
        self.ahead: list[tuple[int, Any]] = []
        self.size = (0, 0)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *raised: object) -> None:
        for writer in self.writers:
            writer.discard()
        for place in self.temporary:
            self.folder.discard(place)

    def sound(self, stream: int, packet: Any) -> None:
        """Copy a packet of sound into every output; until there are any, keep it."""
        if not self.writers:
            self.ahead.append((stream, packet))
        with self._written():
            for writer in self.writers:
                writer.sound(stream, packet)

    def add(self, frame: Frame, made: list[Tensor]) -> None:
        """Write what was made of a frame, an image for each output."""
        arrays = [to_array(y) for y in made]
        with self._written():
            if not self.writers:
                self._begin(arrays)
            for writer, pixels in zip(self.writers, arrays, strict=True):
                writer.add(pixels, frame.pts, frame.duration)

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Raise RunError where the place of the outputs fails, which is no fault of the clip's."""
        try:
            yield
        except OSError as error:
            raise RunError(f"{self.folder.url} cannot be written ({error.strerror or error})") from error

    def _begin(self, arrays: list[np.ndarray]) -> None:
        for output, pixels in enumerate(arrays):
            with self.folder.beside(f"{self.i}-{output}.{OUT}", "") as file:
                self.temporary.append(file.name)
            self.writers.append(Writer(file.name, pixels.shape[:2], self.clip, self.film.square))
        self.size = arrays[0].shape[:2]
        for stream, packet in self.ahead:
            self.sound(stream, packet)
        self.ahead.clear()

    def publish(self) -> tuple[Filmed, ...]:
        """Finish all outputs, put them in their places, and describe them."""
        with self._written():
            for writer, temporary in zip(self.writers, self.temporary, strict=True):
                writer.close()
                with open(temporary, "rb+") as file:
                    os.fsync(file.fileno())
        made = []
        for output, (writer, temporary) in enumerate(zip(self.writers, self.temporary, strict=True)):
            path, times = self.film.path(self.i, output), self.clip.times
            with self._written():
                self.folder.make(path.rpartition("/")[0])
                self.folder.publish(temporary, path)
            rate, copied, dropped = self.clip.average, tuple(writer.copied), tuple(writer.dropped)
            about = (times.count, self.size, rate, times.variable, self.clip.seconds, copied, dropped)
            made.append(Filmed(self.folder.at(path), *about, writer.pixels, tuple(self.clip.flaws)))
        return tuple(made)
