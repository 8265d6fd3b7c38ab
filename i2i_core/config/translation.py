"""Say what translate.py translates, how, and where to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from i2i_core.config.evaluation import AtTestOptions
from i2i_core.errors import ConfigError
from i2i_core.settings import check_at_least, check_choice, setting


@dataclass(frozen=True)
class TranslateOptions:
    """Name what to translate, how, and where to."""

    input: str = setting("", resume="free")
    """A folder of images, a text file that lists images (one a line), or a data set (folder or URL)."""
    out: str = setting("", resume="free")
    """Folder or URL for NAME.png of each image NAME (.npy for what PNG cannot hold) and contact_sheet.png; where an
    input has many outputs, NAME-0.png, NAME-1.png, ..."""
    split: str = setting("test", resume="free")
    """Split of a data set."""
    shards_at: tuple[str, ...] = setting((), resume="free")
    """Of a data set: folders or URLs outside its own where its shards may lie too, of the same protocol and host."""
    count: int = setting(0, resume="free")
    """Of methods that make images of no others, in place of --input: so many, of codes drawn from their numbers."""
    target: str = setting("", resume="free")
    """Attributes that are on, all others off: `bold,serif` (`none`: all off). With signs, changes to the
    source's own, which a labelled data set knows: `+bold`; write `--target=-serif`, with the sign of equality. Of a
    checkpoint of several data sets: names of one of them."""
    samples: int = setting(0, resume="free")
    """Of methods whose outputs vary with a code z: so many outputs of each image, of codes drawn from its name."""
    like: str = setting("", resume="free")
    """Of methods that read codes off images: outputs like these images of B (with --back, of A). A file: all are like
    it. A folder, a list, or several with commas between: an output like each. `truth`: like each image's own, of a
    paired data set. Of methods that take examples: one output, like all of them together."""
    interpolate: int = setting(0, resume="free")
    """So many outputs between two codes, both included, in equal steps along the line from one to the other: two that
    are drawn from the image's name, or those of `--like FIRST,SECOND`."""
    back: bool = setting(False, resume="free")
    """Of methods that translate both ways: from B to A. Of a data set, B's images are read."""
    shards: bool = setting(False, resume="free")
    """Of a data set as --input: --out becomes a data set, the same split with its images translated and all else
    (labels, annotations) as it was. The same command again goes on with one that was stopped."""
    overwrite: bool = setting(False, resume="free")
    """Of --shards: replace a data set, or an unfinished one, that was made in another way."""
    workers: int = setting(1, resume="free")
    """1: in this process, or on one worker of the cluster that RAY_ADDRESS names, as it does for a submitted job; more:
    as many Ray workers."""
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
    at_test: AtTestOptions = field(default_factory=AtTestOptions)

    def __post_init__(self) -> None:
        check_at_least(self, 1, "workers", "batch")
        check_at_least(self, 0, "count", "most", "size", "samples", "interpolate")
        check_choice(self, "bad", ("fail", "skip"))
        if self.gpu and self.cpu:
            raise ConfigError("--gpu --cpu", "both", "one of them, or neither", "Remove one.")
        if self.overwrite and not self.shards:
            fix = "Leave it out: outputs in a folder are replaced as they are made."
            raise ConfigError("--overwrite", "no --shards beside it", "--shards", fix)
