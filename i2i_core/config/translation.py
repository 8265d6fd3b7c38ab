"""Say what translate.py translates, how, and where to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from i2i_core.config.evaluation import AtTestOptions
from i2i_core.errors import ConfigError
from i2i_core.settings import MOST_PROCESSES, check_at_least, check_choice, check_numbers, flag, setting, shown
from i2i_core.sizes import MOST_SIDE, Size, parsed_size, sides

TileNorm = Literal["exact", "blend"]
TILE_NORMS: tuple[TileNorm, ...] = get_args(TileNorm)


@dataclass(frozen=True)
class TranslateOptions:
    """Name what to translate, how, and where to."""

    input: str = setting("", resume="free")
    """Images to translate: an image, a folder, a pattern in quotes ('photos/*.jpg'), a text file that lists images (one
    a line), or a data set. Each is a path or a URL. Images may have any size. Videos (mp4, m4v, mov, 3gp, mkv, webm,
    avi) are taken in the same ways, where there are no images; see docs/data.md."""
    out: str = setting("", resume="free")
    """Folder or URL for the outputs: NAME.png of each image NAME (.npy for what PNG cannot hold), or NAME-0.png,
    NAME-1.png, ... where an input has many outputs. Each has the size of its input. A contact sheet lies beside the
    folder, as OUT-sheet.png, and the ledger, OUT-ledger: a row for each input, with which the same command goes on. Of
    videos, NAME.mp4; of one video, --out may also be the file itself, ending in .mp4."""
    split: str = setting("test", resume="free")
    """Split to translate, where --input is a data set."""
    shards_at: tuple[str, ...] = setting((), resume="free")
    """Folders or URLs outside the data set's own that its shards may lie in too, of the same protocol and host."""
    count: int = setting(0, resume="free")
    """Number of images to make, for methods that take no input images; each one's code is seeded by its number."""
    target: str = setting("", resume="free")
    """Attributes of the outputs, for labelled methods (StarGAN). `bold,serif`: these on, all others off; `none`: all
    off. With signs: changes to the source's own attributes, which a labelled data set knows: `+bold`; write
    `--target=-serif`, with the equals sign. For a checkpoint of several data sets: names of one of them."""
    samples: int = setting(0, resume="free", most=10_000)
    """Outputs of each image, for methods whose outputs vary with a code z; the codes are seeded by the image's name, or
    the video's, of which at most 16 are made."""
    like: str = setting("", resume="free")
    """Images of B (with --back, of A) that the outputs are to be like, for methods that read codes off images. A file:
    all outputs are like it. A folder, a list, or several with commas between: one output like each. `truth`: like each
    image's own truth, in a paired data set. For methods that take examples: one output, like all of them together."""
    interpolate: int = setting(0, resume="free", most=10_000)
    """Outputs of each image between two codes, both included, in equal steps along the line from one to the other. The
    codes are drawn, seeded by the image's name, or read off `--like FIRST,SECOND`."""
    back: bool = setting(False, resume="free")
    """Translate from B to A, for methods that translate both ways; of a data set, B's images are read."""
    shards: bool = setting(False, resume="free")
    """Write a data set to --out instead of files: the split of --input with its images translated, and everything else
    (labels, annotations) unchanged. The same command resumes one that was stopped."""
    overwrite: bool = setting(False, resume="free")
    """Start anew where --out holds outputs of another checkpoint, input or options: those that its ledger names are
    removed first; with --shards, the data set."""
    workers: int = setting(1, resume="free", most=MOST_PROCESSES)
    """Processes that translate. 1: this process, or one worker of the cluster that RAY_ADDRESS names, as it does for a
    submitted job; more: as many Ray workers, each with whole videos. Outputs are the same."""
    batch: int = setting(32, resume="free", most=65_536)
    """Images that a worker takes at a time; outputs are the same. Of videos it takes a few frames, whatever this is."""
    most: int = setting(0, resume="free")
    """Number of images to translate, or frames of each video, from the first on; 0: all."""
    size: str = setting("", resume="free")
    """Size in pixels that images are resized to before they are translated; give one near training's where results are
    poor. `256`: the shorter side, and images keep their shape; `512x256` (width, height): exactly that, stretched, as a
    run with --fit square saw its images. Without it, their own size."""
    longer_side: int = setting(0, resume="free", most=MOST_SIDE)
    """Pixels that the longer side of images is resized to; they keep their shape. 0: not so. It bounds the memory that
    a large photo takes."""
    scale: float = setting(0.0, resume="free", most=100)
    """Number that both sides of images are multiplied with: 0.5 halves them. 0: not so."""
    tile: int = setting(0, resume="free", most=MOST_SIDE)
    """Side in pixels of the tiles that images are translated in, which bounds the memory that a large one takes; 0:
    images go through whole. 512 and more waste less time on what lies around a tile. docs/tiles.md says which
    generators can."""
    tile_norm: TileNorm = setting("exact", resume="free")
    """Statistics of the norms where --tile is given. exact: those of the whole image, so that the output is that of the
    whole image, in a pass for each norm; blend: each tile's own, and tiles overlap and fade into each other."""
    background: str = setting("white", resume="free")
    """The colour under transparent pixels, which the networks see: a name or #rrggbb."""
    keep_alpha: bool = setting(False, resume="free")
    """Give outputs the transparency of their inputs; without it, they have none."""
    ab: bool = setting(False, resume="free")
    """Take the A half of images that hold A and B side by side (or one above the other), as the data of many runs did;
    with --back, and for a run with --direction BtoA, the B half."""
    whole: bool = setting(False, resume="free")
    """Take images as they are, also where a run of images that held A and B takes them for two."""
    bad: Literal["fail", "skip"] = setting("fail", resume="free")
    """Exit code after images or videos that cannot be read, which are named and left out: `fail` ends with 1, `skip`
    with 0."""
    gpu: bool = setting(False, resume="free")
    """Use one GPU per worker. Without --gpu and --cpu, use a GPU where there is one."""
    cpu: bool = setting(False, resume="free")
    """Use CPUs only."""
    at_test: AtTestOptions = field(default_factory=AtTestOptions)

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 1, "workers", "batch")
        check_at_least(self, 0, "count", "most", "longer_side", "scale", "samples", "interpolate", "tile")
        self._check_sizes()
        if self.ab and self.whole:
            raise ConfigError("--ab --whole", "both", "one of them, or neither", "Remove one.")
        check_choice(self, "bad", ("fail", "skip"))
        check_choice(self, "tile_norm", TILE_NORMS)
        if self.tile_norm != "exact" and not self.tile:
            fix = "Give --tile 512, say, or leave --tile-norm out."
            raise ConfigError("--tile-norm", f"{self.tile_norm} without --tile", "both", fix)
        if self.tile and self.shards:
            fix = "Leave --tile out: images of a data set are as small as those that the run was trained on."
            raise ConfigError("--tile", "--shards beside it", "outputs in files", fix)
        if self.gpu and self.cpu:
            raise ConfigError("--gpu --cpu", "both", "one of them, or neither", "Remove one.")

    def _check_sizes(self) -> None:
        given = [name for name in ("size", "longer_side", "scale") if getattr(self, name)]
        if len(given) > 1:
            flags = " and ".join(map(flag, given))
            raise ConfigError(flags, "both" if len(given) == 2 else "all", "one of them, or none", "Keep one.")
        try:
            found = sides(self.resize_to) if self.size else (1, 1)
        except ValueError:
            found = (0, 0)
        if min(found) < 1 or max(found) > MOST_SIDE:
            expected = f"the shorter side in pixels, or WIDTHxHEIGHT, from 1 to {MOST_SIDE}"
            raise ConfigError("--size", shown(self.size), expected, "Give --size 256, or --size 512x256.")

    @property
    def resize_to(self) -> Size:
        """Read --size: the shorter side, or (height, width); 0 where it is not given."""
        if not self.size:
            return 0
        size = parsed_size(str(self.size))
        return sides(size) if "x" in str(self.size) else size
