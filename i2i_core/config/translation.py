"""Declare the options of translate.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from i2i_core.config.evaluation import AtTestOptions
from i2i_core.errors import ConfigError
from i2i_core.settings import check_at_least, check_choice, setting


@dataclass(frozen=True)
class TranslateOptions:
    """Choose what to translate, how, and where to put the outputs."""

    input: str = setting("", resume="free")
    """Images to translate: a folder, a text file with one image per line, or a data set (folder or URL)."""
    out: str = setting("", resume="free")
    """Folder or URL for the outputs: NAME.png of each image NAME (.npy for what PNG cannot hold) and contact_sheet.png.
    Several outputs of one image are NAME-0.png, NAME-1.png, ..."""
    split: str = setting("test", resume="free")
    """Split to translate, if --input is a data set."""
    shards_at: tuple[str, ...] = setting((), resume="free")
    """More folders or URLs, of the same protocol and host, in which a data set's shards may lie."""
    count: int = setting(0, resume="free")
    """Number of images to make in place of --input, for methods that make images from codes alone; each code is drawn
    from the image's number."""
    target: str = setting("", resume="free")
    """Attributes of the outputs: `bold,serif` switches these on and all others off, `none` switches all off. With
    signs, changes to each source's own attributes, which a labelled data set knows: `+bold`, or `--target=-serif` with
    the equals sign. A checkpoint of several data sets takes names of one of them."""
    samples: int = setting(0, resume="free")
    """Outputs of each image, for methods whose outputs vary with a code z; the codes are drawn from the image's
    name."""
    like: str = setting("", resume="free")
    """Example images of B (with --back, of A) that the outputs follow, for methods that read codes from images. One
    file is followed by every output; a folder, a list, or several names with commas give one output for each. `truth`
    follows each image's own truth, in a paired data set. Methods that take several examples make one output that
    follows them all."""
    interpolate: int = setting(0, resume="free")
    """Outputs of each image between two codes, both included, in equal steps on the line between them. The codes are
    drawn from the image's name, or read from `--like FIRST,SECOND`."""
    back: bool = setting(False, resume="free")
    """Translate from B to A, for methods that translate both ways. From a data set, this reads B's images."""
    shards: bool = setting(False, resume="free")
    """Make --out a data set: the split of the --input data set with its images translated, and everything else (labels,
    annotations) unchanged. The same command resumes an interrupted one."""
    overwrite: bool = setting(False, resume="free")
    """With --shards, replace a finished or unfinished data set in --out that was made with other options."""
    workers: int = setting(1, resume="free")
    """Number of workers. 1 works in this process, or on one worker of the cluster if RAY_ADDRESS names one, as in a
    submitted job; more start as many Ray workers."""
    batch: int = setting(32, resume="free")
    """Images that a worker translates at a time; lower it if memory runs out."""
    most: int = setting(0, resume="free")
    """Translate only this many images, the first ones; 0 translates all."""
    size: int = setting(0, resume="free")
    """Side in pixels to resize images to, square; 0 leaves their own size."""
    bad: Literal["fail", "skip"] = setting("fail", resume="free")
    """Exit code if some images cannot be read: 1 with fail, 0 with skip. Both name those images and translate the
    rest."""
    gpu: bool = setting(False, resume="free")
    """Give each worker one GPU. Without --gpu and --cpu, workers use a GPU if there is one."""
    cpu: bool = setting(False, resume="free")
    """Use CPUs alone."""
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
