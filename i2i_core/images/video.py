"""Read the frames of a video with their times, colours and sound, by FFmpeg in the package PyAV.

Frames are x_HWC, (height, width, 3), uint8 RGB, upright. Times are whole numbers in units of the clip's own time base,
and stay so from the file that is read to the one that is written, also where they lie apart unevenly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any

import numpy as np

from i2i_core.errors import counted
from i2i_core.images.containers import DEMUXERS, check_container
from i2i_core.images.ffmpeg import CUBIC, FULL, LIMITED, converter, package, worded
from i2i_core.images.limits import MAX_PIXELS, check_size

MOST_FRAMES = 10_000_000
"""Frames of a clip, at most: 92 hours of 30 a second."""
_MATRICES = (1, 4, 5, 6, 7, 9)
"""Matrices of colours that FFmpeg converts, by their numbers in H.273, 8.3."""
_BT709, _BT601, _UNSAID = 1, 6, 2
_BRIGHT = {16: "PQ", 18: "HLG"}
_ATTACHED = 1 << 10
_HIDDEN = ("vp8", "mpeg4")
"""Codecs with packets of which no frame is shown."""
_CUT_IT = "cut it into several clips first"
Sound = Callable[[int, Any], None]
"""Takes the number of a stream of sound, and a packet of it."""


@dataclass(frozen=True)
class Frame:
    """Hold one frame, upright, and when it is shown for how long, in units of its clip's time base."""

    pixels: np.ndarray
    pts: int
    duration: int


@dataclass(frozen=True)
class Look:
    """Say how a player is to show the values of frames: the matrix, primaries and transfer of their colours, by their
    numbers in H.273, and the proportions of a pixel (width to height; 0: not said)."""

    matrix: int
    primaries: int
    transfer: int
    aspect: Fraction = Fraction(0)


@dataclass
class Times:
    """Follow the times of a clip's frames, and give one to frames that have none, or one that is not after the last."""

    step: int
    """Duration of a frame that says none."""
    count: int = 0
    first: int = 0
    last: int = 0
    end: int = 0
    least: int = 0
    greatest: int = 0
    mended: int = 0
    """Frames that were given a time."""

    def next(self, pts: int | None, duration: int) -> tuple[int, int]:
        """Give time and duration of the next frame.

        Args:
            pts, duration: as the file has them; None or 0 where it does not.
        """
        had = self.count > 0
        if pts is None or (had and pts <= self.last):
            pts, self.mended = (self.end if pts is None else self.last + 1), self.mended + 1
        if had:
            apart = pts - self.last
            self.least = min(self.least, apart) if self.count > 1 else apart
            self.greatest = max(self.greatest, apart)
        duration = duration if duration > 0 else (self.greatest or self.step)
        self.first = self.first if had else pts
        self.last, self.end, self.count = pts, pts + duration, self.count + 1
        return pts, duration

    @property
    def variable(self) -> bool:
        """Tell whether frames lie apart unevenly, by more than what rounding to the time base does."""
        return self.greatest - self.least > max(1, self.greatest // 50)


class Clip:
    """Read a video file: its first frame at once, then all, and its sound as it comes.

    Attributes:
        size: (height, width) of the upright frames.
        base: seconds of a unit of time.
        rate: frames a second on average, as the file says.
        stated: frames that the file says it has; 0 where it does not say. `about`: the same, or reckoned by its length.
        look: how its frames are shown.
        sounds: its audio streams.
        times: of the frames that were read.
        damaged: frames that the decoder filled in, or could give nothing of.
    """

    def __init__(self, source: str | IO[bytes]) -> None:
        """Open a video.

        Args:
            source: a local path, or a file that can be read in any order.

        Raises:
            ValueError: it is no video that can be read, is cut off, is over the limits, or the package is missing.
            OSError: there is no such file, or it cannot be read.
        """
        av = package()
        if isinstance(source, str):
            with open(source, "rb") as file:
                check_container(file)
        else:
            check_container(source)
            source.seek(0)
        with worded("it cannot be opened as a video"):
            only = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
            self.container = av.open(source, options=only, metadata_errors="replace")
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        videos = [s for s in self.container.streams.video if not int(s.disposition) & _ATTACHED]
        if not videos:
            raise ValueError(
                "a file of sound alone, without a video" if self.container.streams.audio else "no video in it"
            )
        self.video = videos[0]
        if (context := self.video.codec_context) is None:
            raise ValueError("a video in a codec that this build of FFmpeg does not have")
        if not (context.width and context.height):
            raise ValueError("a video that states no size, or one that FFmpeg refuses")
        check_size(context.width, context.height, 3)
        self.stated = int(self.video.frames)
        self._listed = len(self.video.index_entries) if self.container.format.name.startswith("mov") else 0
        context.options = {"max_pixels": str(MAX_PIXELS)}
        context.thread_type = "AUTO"
        self.sounds = list(self.container.streams.audio)
        self.base = Fraction(self.video.time_base or Fraction(1, 90_000))
        self.rate = Fraction(self.video.average_rate or self.video.guessed_rate or 25)
        self.times = Times(max(1, round(1 / (self.rate * self.base))))
        self.damaged, self._packets, self._passed_over, self._ended = 0, 0, 0, False
        self._begin = Fraction(max(0, self.container.start_time or 0), 1_000_000)
        self._read, self._converter = self._decoded(), converter()
        self._ahead: deque[tuple[int, Any]] = deque()
        self._sound: Sound = lambda stream, packet: self._ahead.append((stream, packet))  # until somebody takes it
        self._first: Any = next(self._read, None)
        if self._first is None:
            raise ValueError("a video without frames")
        self.look = self._look(self._first)
        self.size = self._upright(self._first).shape[:2]

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    @property
    def about(self) -> int:
        """Reckon the number of frames; 0 where the file says neither that nor its length."""
        seconds = float(self.container.duration or 0) / 1e6
        return self.stated or round(seconds * float(self.rate))

    @property
    def seconds(self) -> float:
        """Length of what was read."""
        return float((self.times.end - self.times.first) * self.base)

    @property
    def average(self) -> float:
        """Frames a second of what was read."""
        return self.times.count / self.seconds if self.seconds else float(self.rate)

    def frames(self, most: int = 0, sound: Sound | None = None) -> Iterator[Frame]:
        """Read the frames in order, once.

        Args:
            most: how many, from the first on; 0: all.
            sound: takes each packet of sound as it comes, which lasts as long as the frames.

        Raises:
            ValueError: frames cannot be decoded, have another size than the first, are fewer than the file lists, or
                more than `MOST_FRAMES`.
        """
        if not most and self.stated > MOST_FRAMES:
            raise ValueError(f"{self.stated:,} frames, over the limit of {MOST_FRAMES:,}; {_CUT_IT}")
        self._sound = sound or (lambda stream, packet: None)
        while self._ahead:
            self._sound(*self._ahead.popleft())
        frame, most = self._first, most or MOST_FRAMES + 1
        while frame is not None and self.times.count < most:
            if self.times.count == MOST_FRAMES:
                raise ValueError(f"more than {MOST_FRAMES:,} frames; {_CUT_IT}")
            pixels = self._upright(frame)
            if pixels.shape[:2] != self.size:
                raise ValueError(
                    f"frame {self.times.count + 1} has {pixels.shape[1]} x {pixels.shape[0]} pixels (width x height), "
                    f"the first {self.size[1]} x {self.size[0]}; cut the clip there"
                )
            self.damaged += bool(frame.is_corrupt)
            pts = None if frame.pts is None else int(frame.pts) - round(self._begin / self.base)
            yield Frame(pixels, *self.times.next(pts, int(frame.duration or 0)))
            frame = next(self._read, None)
        if frame is not None:
            self._rest_of_sound()
        elif self._packets < self._listed:
            raise ValueError(f"only {self.times.count:,} of its {self._listed:,} frames could be read")
        else:
            self._ended = True
            if self.video.codec_context.name not in _HIDDEN:  # in others, a packet is a frame
                self.damaged += max(0, self._packets - self._passed_over - self.times.count)

    @property
    def flaws(self) -> Iterator[str]:
        """Say what was found to be wrong with the frames that were read."""
        if self.damaged:
            yield f"{counted(self.damaged, 'frame')} damaged in the source"
        if self.times.mended:
            yield f"{counted(self.times.mended, 'frame')} without a time of its own"
        end, stated = float(self.times.end * self.base + self._begin), self._stated_end
        if self._ended and stated - end > 0.05 + 3 / float(self.rate):
            yield f"it ends at {end:.2f} s, where its file states {stated:.2f} s"

    @property
    def _stated_end(self) -> float:
        """Read when the last frame ends by the file's own words; 0 where it does not say of the frames alone."""
        if tag := self.video.metadata.get("DURATION", ""):  # Matroska
            with suppress(ValueError):
                hours, minutes, seconds = map(float, tag.split(":"))
                return 3600 * hours + 60 * minutes + seconds
        return 0.0 if self.sounds else float(self.container.duration or 0) / 1e6 + float(self._begin)

    def _decoded(self) -> Iterator[Any]:
        """Decode the frames one by one, and hand sound on meanwhile."""
        with worded(lambda: f"it cannot be decoded after {counted(self.times.count, 'frame')}"):
            for packet in self.container.demux(self.video, *self.sounds):
                if packet.stream is self.video:
                    self._packets += bool(packet.size)
                    self._passed_over += bool(packet.size and packet.is_discard)
                    yield from packet.decode()
                elif packet.dts is not None:
                    self._sound(packet.stream.index, self._shifted(packet))

    def _rest_of_sound(self) -> None:
        """Hand on the sound up to the end of the frames, of which no more are read."""
        end, open_streams = self.times.end * self.base, {s.index for s in self.sounds}
        with worded("its sound cannot be read"):
            for packet in self.container.demux(*self.sounds) if self.sounds else ():
                if packet.dts is None or self._shifted(packet).dts * packet.time_base >= end:
                    open_streams.discard(packet.stream.index)
                elif packet.stream.index in open_streams:
                    self._sound(packet.stream.index, packet)
                if not open_streams:
                    return

    def _shifted(self, packet: Any) -> Any:
        """Count a packet's times from the clip's beginning."""
        ticks = round(self._begin / packet.time_base)
        packet.dts -= ticks
        packet.pts = packet.dts if packet.pts is None else packet.pts - ticks
        return packet

    def _look(self, frame: Any) -> Look:
        """Read how a frame is shown; where it does not say, as players do: large ones by BT.709, small ones by 601."""
        usual = _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601
        matrix = int(frame.colorspace)
        tags = (int(frame.color_primaries), int(frame.color_trc))
        primaries, transfer = (usual if tag in (0, _UNSAID) else tag for tag in tags)
        aspect = Fraction(self.video.sample_aspect_ratio or 0)
        if aspect and _turn(frame)[0]:
            aspect = 1 / aspect
        return Look(matrix if matrix in _MATRICES else usual, primaries, transfer, aspect)

    @property
    def notes(self) -> Iterator[str]:
        """Say what of the clip's colours is not kept as it is."""
        if self.look.transfer in _BRIGHT:
            how = _BRIGHT[self.look.transfer]
            yield f"its colours are of high dynamic range ({how}): the networks see its values as they are"
        if any(part.bits > 8 for part in self._first.format.components):
            yield "its values of more than 8 bits become 8"

    def _upright(self, frame: Any) -> np.ndarray:
        """Convert a decoded frame to RGB, turned and mirrored as its file says."""
        kind, said = frame.format.name, int(frame.color_range)
        full = said == FULL or kind.startswith("yuvj") or (kind.startswith("gray") and said != LIMITED)
        with worded(lambda: f"frame {self.times.count + 1} cannot be converted to RGB"):
            rgb = self._converter.reformat(
                frame,
                format="rgb24",
                src_colorspace=self.look.matrix,
                src_color_range=FULL if full or frame.format.is_rgb else LIMITED,
                dst_color_range=FULL,
                interpolation=CUBIC,
                threads=1,
            )
        x = rgb.to_ndarray()
        across, left, up = _turn(frame)
        x = x.transpose(1, 0, 2) if across else x
        x = x[:, ::-1] if left else x
        return np.ascontiguousarray(x[::-1] if up else x)


def _turn(frame: Any) -> tuple[bool, bool, bool]:
    """Read how a frame is to be shown off the matrix of its file (ISO/IEC 14496-12, 6.2.2), which takes (x, y) to
    (a x + c y, b x + d y): rows become columns; then mirrored left to right; then upside down. Other angles than right
    ones are not followed."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = (int(n) for n in np.frombuffer(bytes(data), "<i4")[:5])
            if abs(a) < abs(b) and abs(d) < abs(c):
                return True, c < 0, b < 0
            return False, a < 0, d < 0
    return False, False, False
