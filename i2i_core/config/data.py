"""Say what a run reads, and what it does to an image before the networks see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2i_core.errors import ConfigError
from i2i_core.settings import check_at_least, check_choice, setting
from i2i_core.sizes import Resizing
from i2i_core.storage.paths import check_folders


@dataclass(frozen=True)
class DataConfig:
    """Say what is read, and what is done to an image before the networks see it."""

    uri: str = setting("", resume="free", name="data")
    """Data set: a folder or URL with manifest.json. None given: the built-in glyphs."""
    also: tuple[str, ...] = setting((), resume="free")
    """Further labelled data sets with attributes of their own, trained on side by side: batches come from each in
    turn (StarGAN)."""
    shards_at: tuple[str, ...] = setting((), resume="free")
    """Folders or URLs outside a data set's own where its shards may lie too, of the same protocol and host: for data
    sets that you trust to read there (docs/data.md)."""
    fingerprint: str = setting("", derived=True)
    """Checksum of the contents of the data set, or of all of them; filled in by the driver."""
    order: int = setting(1, derived=True, resume="free")
    """Version of the order of samples that the run began with; filled in by the driver. Files of earlier programs do
    not say it: 1. A run of another version is not gone on with (`training/resuming.py`)."""
    split: str = setting("train")
    """Split to train on."""
    direction: Literal["AtoB", "BtoA"] = setting("AtoB")
    """Which side of a pair, or which domain, is the input."""
    load_size: int = setting(0)
    """Resize to this many pixels before the crop; 0: straight to the image size."""
    fit: Literal["square", "shorter"] = setting("square")
    """square: stretch images to the load size, whatever their shape; shorter: bring the shorter side to it, keep the
    shape, and let the crop cut the training size out of the rest. Evaluations and grids follow, with the middle."""
    resample: Literal["bicubic", "bilinear"] = setting("bicubic")
    """Filter of the resizing, antialiased. Images that are stored at the load size are not resized."""
    crop: Literal["random", "center", "none"] = setting("random")
    """How the training size is cut from the loaded size."""
    flip: bool = setting(True)
    """Mirror half of the samples left to right."""
    frame_stride: int = setting(1)
    """Step so many frames of a clip from each that is read to the next, of methods that read sequences of frames."""
    balance: bool = setting(False)
    """Have every class come equally often, of data with a class per sample. Samples of rare classes are repeated within
    windows, and as many of frequent ones left out (docs/stream.md)."""
    window: int = setting(1024)
    """Samples a lane shuffles among."""
    lanes: int = setting(0)
    """Lanes that samples are taken from in turn, a multiple of the batch; 0: the batch, or as many times it as reach
    64, where there is enough to read and their shards have room on a node. Fewer ask for fewer remote shards at a time,
    and shuffle less."""
    loaders: int = setting(-1, resume="free")
    """Loader processes per worker; 0: a thread of the worker itself; -1: by the CPUs of its node, up to 8 beside a GPU
    and none where CPUs do the arithmetic."""
    cache: str = setting("", resume="free")
    """Of remote data: folder of each node, on a local disk, where shards are kept whole while they are needed and as
    long as there is room; none given: one in the temporary folder."""
    cache_gb: float = setting(20.0, resume="free")
    """What the folder may hold, 10^9 bytes, for all runs of the node together; 0: no cache, samples are read one by
    one."""
    most_bad: int = setting(100, resume="free")
    """Stop the run when more samples than this cannot be used; each counts once."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "load_size", "lanes", "most_bad", "cache_gb")
        check_at_least(self, -1, "loaders")
        check_at_least(self, 1, "window", "frame_stride")
        check_choice(self, "crop", ("random", "center", "none"))
        check_folders(self.shards_at, "--shards-at")
        check_choice(self, "fit", ("square", "shorter"))
        check_choice(self, "resample", ("bicubic", "bilinear"))
        if self.fit == "shorter" and self.crop == "none":
            fix = "Give --crop random or --crop center, or --fit square."
            expected = "a crop: the longer side of an image must be cut to the training size"
            raise ConfigError("--fit", "shorter with --crop none", expected, fix)
        if self.also and not self.uri:
            fix = "Give the first data set with --data, the others with --also."
            raise ConfigError("--also", f"{' '.join(self.also)} without --data", "data sets beside another", fix)

    @property
    def resizing(self) -> Resizing:
        """How images come to their size."""
        return Resizing(self.fit, self.resample)

    @property
    def cache_bytes(self) -> int:
        return int(self.cache_gb * 1e9)

    @property
    def uris(self) -> tuple[str, ...]:
        """Every data set of the run: its number is its place here."""
        return (self.uri, *self.also)

    @property
    def names(self) -> tuple[str, ...]:
        """A short name for each of `uris`: its last part, with a number where two have the same."""
        last = [uri.rstrip("/").rsplit("/", 1)[-1] for uri in self.uris]
        return tuple(f"{name}-{n}" if last.count(name) > 1 else name for n, name in enumerate(last))
