"""Export a checkpoint's network: `python pipelines/export.py RUN --to onnx --out cat.onnx`.

The file makes images without this project: onnx runs in onnxruntime and what else reads ONNX, torch in any program that
has torch. It is run before it is written, and its images are compared with the checkpoint's. docs/exporting.md shows
how each is used.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

try:
    import tyro
except ModuleNotFoundError as missing:  # another Python than `make setup` installed into
    sys.exit(f"error: {missing}. Run `make setup` once, and `source .venv/bin/activate` in every new shell.")

from i2i_core import logs
from i2i_core.cli import main, parse, say
from i2i_core.config.common import EXPORT
from i2i_core.errors import ConfigError
from i2i_core.logs import Level
from i2i_core.settings import check_numbers, setting
from i2i_core.sizes import MOST_SIDE, Size, said_bytes
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import absolute

PROGRAM = "export.py"
ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}


@dataclass(frozen=True)
class ExportOptions:
    """Say which network to export, and as what."""

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")] = ""
    """Folder or URL of a run, or of one of its checkpoints."""
    to: Literal["onnx", "torch"] = "onnx"
    """Format. onnx needs the packages of the extra `export`; torch is a program of torch.export, which keeps to
    torch's own operations."""
    out: str = ""
    """File or URL to write; its name ends in .onnx or .pt2."""
    back: bool = False
    """Export the network that translates from B to A, for methods that translate both ways."""
    half: bool = False
    """Store weights, and take and make images, in half precision: half the size, three digits. For GPUs."""
    size: Size = setting(0, most=MOST_SIDE)
    """Height and width of the images, fixed: 256, or 512x256 (width, height). 0 leaves them free where the network
    allows it."""
    licence: str = ""
    """Licence of the weights, to be noted in the file."""
    overwrite: bool = False
    """Replace a file that is there."""
    log_level: Level = "info"
    """Least severe messages to log: debug, info, warning or error."""

    def __post_init__(self) -> None:
        check_numbers(self)


def run() -> int:
    options = parse(ExportOptions(), PROGRAM, sys.argv[1:], __doc__ or "", EXPORT)
    logs.show(options.log_level)
    if not options.checkpoint:
        fix = "Name a folder that train.py printed: export.py RUN --to onnx --out FILE.onnx."
        raise ConfigError("checkpoint", "nothing", "a run or one of its checkpoints", fix)
    ending = ENDINGS[options.to]
    if not options.out.endswith(ending) or options.out.endswith(f"/{ending}"):
        found, fix = options.out or "nothing", f"For example --out {options.to}/network{ending}."
        raise ConfigError("--out", found, f"a file whose name ends in {ending}", fix)
    place, _, name = absolute(options.out, "--out").rpartition("/")
    folder = Folder(place)
    if folder.exists(name) and not options.overwrite:
        raise ConfigError("--out", f"{options.out}, which is there", "a new file", "Give --overwrite to replace it.")
    from i2i_core.translation.exporting import check_packages, export
    from i2i_core.translation.model import load

    check_packages(options.to)
    model = load(options.checkpoint)
    about = {"licence": options.licence} if options.licence else {}
    made = export(model, options.to, "BtoA" if options.back else "AtoB", options.half, options.size, about)
    folder.write(name, made.data)
    say(f"{options.out}: {said_bytes(len(made.data))}, {'half' if options.half else 'single'} precision")
    for taken, value in made.about["inputs"].items():
        say(f"  takes {taken} ({', '.join(map(str, value['shape']))}): {value['is']}")
    for name in made.about["outputs"]:
        say(f"  makes {name}: image, values from -1 to 1")
    if made.fixed:
        say(f"  height and width are fixed: {made.fixed}")
    elif "multiple_of" in made.about["sides"]:
        sides = made.about["sides"]
        say(f"  height and width are multiples of {sides['multiple_of']}, at least {sides['at_least']}")
    if noise := made.about["noise"]:
        say(f"  noise: {noise}")
    say(f"the file was run beside the checkpoint; their images differ by {made.difference:.1g} at most, of -1 to 1")
    return 0


if __name__ == "__main__":
    main(run)
