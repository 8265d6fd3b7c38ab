"""Declare the options of a run's data: what it reads, and what it does to an image before the networks see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2i_core.errors import ConfigError
from i2i_core.settings import check_at_least, check_choice, check_numbers, setting
from i2i_core.sizes import FITS, MOST_SIDE, Fit, Resizing
from i2i_core.storage.paths import check_folders

MOST_WINDOW = 1 << 24
"""Samples whose order a reader holds in memory: 128 MB."""


@dataclass(frozen=True)
class DataConfig:
    """Choose what to read, and what to do to an image before the networks see it."""

    uri: str = setting("", resume="free", name="data")
    """Data set to train on: a folder or URL with manifest.json, as shard.py makes it. Without it, the run trains on the
    built-in glyphs."""
    also: tuple[str, ...] = setting((), resume="free")
    """More labelled data sets with attributes of their own, to train on side by side: batches come from each in turn
    (StarGAN)."""
    shards_at: tuple[str, ...] = setting((), resume="free")
    """More folders or URLs, of the same protocol and host, in which a data set's shards may lie. Name them only for
    data sets that you trust to read there (docs/data.md)."""
    fingerprint: str = setting("", derived=True)
    """Checksum of the contents of the data set, or of all data sets together; the driver fills it in."""
    order: int = setting(1, derived=True, resume="free")
    """Version of the sample order that the run began with; the driver fills it in. 1 in files of earlier programs,
    which lack it. A run of another version cannot be resumed (`training/resuming.py`)."""
    ab: str = setting("", derived=True, resume="free")
    """`row` or `column` where the data set's pairs were cut from images that held A and B side by side, or one above
    the other; the driver fills it in. translate.py refuses such an image where one side is wanted."""
    ab_size: tuple[int, ...] = setting((), derived=True, resume="free")
    """Height and width of such an image, or numbers in proportion to them."""
    split: str = setting("train")
    """Split to train on."""
    direction: Literal["AtoB", "BtoA"] = setting("AtoB")
    """Direction of the translation: AtoB reads side (or domain) A and makes B; BtoA reads B and makes A."""
    load_size: int = setting(0, most=MOST_SIDE)
    """Side in pixels to resize to before the crop (the height, if --image-size is not square); more than --image-size
    leaves room for random crops. 0 resizes to the image size directly."""
    fit: Fit = setting("shorter", before="square")
    """Fit of an image of another shape. shorter resizes its shorter side to the load size, keeps its aspect ratio, and
    lets the crop cut the training size out; width does so with the width; native cuts without resizing, and enlarges
    only what is smaller than the training size; pad resizes the whole image into the load size, and pads the rest with
    black, and label maps with the id that they ignore, or 0. square stretches it, which distorts. Evaluations and grids
    do the same, and cut out the middle."""
    resample: Literal["bicubic", "bilinear"] = setting("bicubic")
    """Filter of the resizing, antialiased. Images that are stored at the load size stay as they are."""
    crop: Literal["random", "center", "none"] = setting("random")
    """Crop from the load size to the image size: at a random place, from the centre, or none, which resizes to the
    image size directly, and of an image of another shape keeps the middle."""
    flip: bool = setting(True)
    """Mirror half of the samples left to right. Switch it off where left and right differ, as in text."""
    frame_stride: int = setting(1, most=1_000_000)
    """Distance in frames between two neighbouring frames of a sequence, for methods that read sequences; 1 skips
    none."""
    balance: bool = setting(False)
    """Draw every class equally often, from data with one class per sample: each window repeats samples of rare classes
    and leaves out as many of frequent ones (docs/stream.md)."""
    window: int = setting(1024, most=MOST_WINDOW)
    """Samples in a window, among which a lane shuffles; a larger window mixes better and reaches over more shards."""
    lanes: int = setting(0, most=65_536)
    """Number of lanes, stretches of an epoch that are read side by side; a multiple of the batch. 0 takes the first
    multiple that reaches 64, or fewer lanes where each is then a single window, or where a node lacks room for their
    shards (docs/stream.md). Fewer lanes open fewer remote shards at a time, and shuffle less."""
    loaders: int = setting(-1, resume="free", most=1_024)
    """Processes per worker that read and decode; 0 uses a thread of the worker instead. -1 chooses by the CPUs of the
    node: up to 8 per GPU, and 0 where CPUs train. Raise it if a GPU waits for data."""
    cache: str = setting("", resume="free")
    """Cache for shards of remote data: a folder on a local disk of each node, which keeps whole shards while they are
    needed and as long as there is room. Without it, the cache lies in the temporary folder."""
    cache_gb: float = setting(20.0, resume="free")
    """Size limit of that cache in GB (10^9 bytes), for all runs of the node together; 0 switches the cache off, and
    samples are read one by one."""
    most_bad: int = setting(100, resume="free")
    """Stop the run after more unreadable samples than this; each counts once."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 0, "load_size", "lanes", "most_bad", "cache_gb")
        check_at_least(self, -1, "loaders")
        check_at_least(self, 1, "window", "frame_stride")
        check_choice(self, "crop", ("random", "center", "none"))
        check_folders(self.shards_at, "--shards-at")
        check_choice(self, "fit", FITS)
        check_choice(self, "resample", ("bicubic", "bilinear"))
        if self.fit == "native" and (self.crop == "none" or self.load_size):
            given = "--crop none" if self.crop == "none" else f"--load-size {self.load_size}"
            fix = "Give --crop random or center, and --load-size 0; or --fit shorter, which resizes."
            raise ConfigError("--fit", f"native with {given}", "a crop without resizing", fix)
        if self.also and not self.uri:
            fix = "Give the first data set with --data, the others with --also."
            raise ConfigError("--also", f"{' '.join(self.also)} without --data", "data sets beside another", fix)

    @property
    def resizing(self) -> Resizing:
        """Return how images are resized."""
        return Resizing(self.fit, self.resample)

    @property
    def cache_bytes(self) -> int:
        """Return the size limit of the cache in bytes."""
        return int(self.cache_gb * 1e9)

    @property
    def uris(self) -> tuple[str, ...]:
        """List every data set of the run; the index of a data set is its number."""
        return (self.uri, *self.also)

    @property
    def names(self) -> tuple[str, ...]:
        """Name each of `uris` by its last part, followed by its number if another one has the same."""
        last = [uri.rstrip("/").rsplit("/", 1)[-1] for uri in self.uris]
        return tuple(f"{name}-{n}" if last.count(name) > 1 else name for n, name in enumerate(last))
