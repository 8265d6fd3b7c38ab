"""Let people judge images: `python pipelines/study.py make RUN [RUN ...] --out study.html`, then `study.py read FILES`.

`make` writes one page, which works without a network: it shows a person real and made images, each for a second, and
saves the answers as a file (`study.py make --help`). `read` sums up such files: how often people were fooled, with
intervals, and which algorithm fooled them more (`study.py read --help`). docs/studies.md goes through a whole study.
"""

from __future__ import annotations

import glob
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

try:
    import tyro
except ModuleNotFoundError as missing:  # another Python than `make setup` installed into
    sys.exit(f"error: {missing}. Run `make setup` once, and `source .venv/bin/activate` in every new shell.")

from i2i_core import logs
from i2i_core.cli import main, parse, say
from i2i_core.config.common import STUDY_MAKE, STUDY_READ
from i2i_core.errors import ConfigError, RunError, counted
from i2i_core.logs import Level
from i2i_core.settings import MOST_SEED, check_at_least, check_choice, check_numbers, check_positive, setting
from i2i_core.sizes import said_bytes
from i2i_core.storage.folder import Folder
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import absolute
from i2i_core.studies.drawing import Mode, Pairs, Plan, Question

if TYPE_CHECKING:
    from i2i_core.studies.answers import Session
    from i2i_core.studies.pictures import OfSplit, Pictures

PROGRAM = "study.py"
MOST_ALGORITHMS = 8
MOST_FILES = 10_000
ABOUT_MAKE = """
Write the page of a study of one or more algorithms: runs, and folders of images that other programs made.

Without --input each run translates the split `test` of the data set that it was trained on. Real images are those of
the same data set, or of --real. The page works from a file, a mail or a web server; give it to people, and read the
files that it saves with study.py read.
"""
ABOUT_READ = """
Sum up the files of answers that the page of a study saved.

Practice, images that were not shown for the right time, and answers quicker than a person can give are left out, and
counted.
"""
EXAMPLE = "For example study.py make runs/faces --out study.html."
EXACT = 2**53 - 1
"""Largest whole number that a browser holds exactly."""


@dataclass(frozen=True)
class MakeOptions:
    """Say whose images people see, and how."""

    run: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN")] = ()
    """Folders or URLs of runs or checkpoints. `NAME=RUN` calls it by another name than its own."""
    against: tuple[str, ...] = ()
    """Folders of images that other programs made of the same inputs, as `NAME=FOLDER`; a file has its input's name."""
    input: str = ""
    """Data set, or folder of images, that the runs translate. Without it: the data set that each was trained on."""
    split: str = "test"
    """Split of the data set, which no run should have been trained on."""
    real: str = ""
    """Folder of real images. Without it: those of the data set."""
    target: str = ""
    """Labels of the outputs, for methods that take labels, as in translate.py; real images have the same."""
    back: bool = False
    """Judge translations from B to A, for methods that translate both ways."""
    mode: Mode = "real"
    """Question of a trial. real: a real and a made image, each shown for --seconds, one after the other; preference:
    the outputs of two algorithms for one input, beside each other, until the answer."""
    question: Question = "fake"
    """Image that people are asked for in mode real: fake, as in pix2pix's article, or real, as in CycleGAN's. The two
    are not to be compared."""
    pairs: Pairs = "different"
    """Real image that a made one stands beside. different: that of another input; same: its own true output, where data
    are pairs."""
    trials: int = setting(40, most=1000)
    """Trials of a person that count."""
    practice: int = setting(10, most=1000)
    """Trials before them, which tell the person what was right. Mode preference has none."""
    sheets: int = setting(50, most=1000)
    """Number of different orders that the page holds, of which each person gets one; each has one algorithm in mode
    real. An address that ends in #sheet=7 gives that one."""
    seconds: float = setting(1.0, most=60)
    """Seconds that an image is shown in mode real."""
    most: int = setting(100, most=10_000)
    """Most images of each algorithm on the page."""
    size: int = setting(256, most=2048)
    """Pixels of the longer side of images, at most. All have one size, that of the smallest."""
    seed: int = setting(0, most=EXACT)
    """Seed of everything that is drawn."""
    out: str = ""
    """File or URL of the page; its name ends in .html."""
    gpu: bool = False
    """Translate on a GPU. Without --gpu and --cpu: on a GPU where there is one."""
    cpu: bool = False
    """Translate on the CPU."""
    log_level: Level = "info"
    """Least severe messages to log: debug, info, warning or error."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_choice(self, "mode", ("real", "preference"))
        check_choice(self, "question", ("fake", "real"))
        check_choice(self, "pairs", ("different", "same"))
        check_at_least(self, 1, "trials", "sheets", "most")
        check_at_least(self, 0, "practice", "seed")
        check_at_least(self, 16, "size")
        check_positive(self, "seconds")
        if self.gpu and self.cpu:
            raise ConfigError("--gpu --cpu", "both", "one of them, or neither", "Remove one.")

    @property
    def plan(self) -> Plan:
        """Give what is drawn of these options."""
        practice = self.practice if self.mode == "real" else 0
        return Plan(self.mode, self.question, self.pairs, practice, self.trials, self.sheets, self.seed)


@dataclass(frozen=True)
class ReadOptions:
    """Say which answers to sum up."""

    file: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="FILE")] = ()
    """Files of answers, or patterns in quotes."""
    late_ms: float = setting(100.0, most=1000)
    """Milliseconds by which an image's display time may differ from what it was to be. A slow or hidden page shows
    images too long."""
    least_ms: float = setting(100.0, most=10_000)
    """Milliseconds from the question to the quickest answer that counts."""
    seed: int = setting(0, most=MOST_SEED)
    """Seed of the bootstrap."""
    out: str = ""
    """JSON file or URL for the result; none: it is only printed."""
    log_level: Level = "info"
    """Least severe messages to log: debug, info, warning or error."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 0, "late_ms", "least_ms", "seed")


def run() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == ["make"]:
        return make(parse(MakeOptions(), f"{PROGRAM} make", arguments[1:], ABOUT_MAKE, STUDY_MAKE))
    if arguments[:1] == ["read"]:
        return read(parse(ReadOptions(), f"{PROGRAM} read", arguments[1:], ABOUT_READ, STUDY_READ))
    if {"--help", "-h", "--help-all"} & {*arguments[:1]}:
        say(*(__doc__ or "").strip().split("\n"))
        return 0
    found = arguments[0] if arguments else "nothing"
    raise ConfigError(PROGRAM, found, "make or read", "study.py make RUN --out study.html, or study.py read FILES.")


# ---- make ----


def make(options: MakeOptions) -> int:
    """Write the page of a study, and return the exit code."""
    logs.show(options.log_level)
    check_asked(options)
    place, _, name = absolute(options.out, "--out").rpartition("/")
    options = replace(options, input=absolute(options.input, "--input"), real=absolute(options.real, "--real"))
    from i2i_core.images.sheet import png_bytes
    from i2i_core.studies.drawing import draw
    from i2i_core.studies.page import page
    from i2i_core.studies.pictures import alike

    made, data = made_images(options)
    plan, keys = options.plan, {by: [*images] for by, images in made.items()}
    real: Pictures = {}
    if plan.mode == "real":
        wanted = next(iter(keys.values())) if plan.pairs == "same" else ()
        real = real_images(options, data, wanted)
    sheets = draw(plan, keys, [*real])
    sources: Pictures = {}
    if plan.mode == "preference":
        sources = source_images(options, data, [*dict.fromkeys(one.key for sheet in sheets for one, _ in sheet)])
    *of_algorithms, of_real = alike([*made.values(), real], options.size)
    files = dict(zip(made, of_algorithms, strict=True))
    shown = {key: png_bytes(image) for key, image in sources.items()}
    written = page(plan, sheets, files, of_real, shown, options.seconds).encode()
    Folder(place).write(name, written)
    say(f"{options.out}: {said_bytes(len(written))}, {counted(len(sheets), 'sheet')} of {counted(plan.each, 'trial')}")
    say(*(f"  {name}: {counted(len(images), 'image')}" for name, images in made.items()))
    say(*([f"  real: {counted(len(real), 'image')}"] if real else []))
    say("open it in a browser; it saves each person's answers as a file, for study.py read")
    return 0


def check_asked(options: MakeOptions) -> None:
    """Check what can be checked before anything is read. Raises ConfigError."""
    if not options.run and not options.against:
        raise ConfigError("RUN", "nothing", "runs, or folders of images (--against NAME=FOLDER)", EXAMPLE)
    if not options.out.endswith(".html") or options.out.rpartition("/")[2] == ".html":
        found = options.out or "nothing"
        raise ConfigError("--out", found, "a file whose name ends in .html", EXAMPLE)
    many = len(options.run) + len(options.against)
    if many > MOST_ALGORITHMS:
        raise ConfigError("RUN", f"{many} algorithms", f"at most {MOST_ALGORITHMS}", "Make several studies.")
    if options.mode == "preference" and many < 2:
        fix = "Name another run, or --against NAME=FOLDER."
        raise ConfigError("RUN", "one algorithm", "two or more, for --mode preference", fix)
    if options.mode == "real" and not options.real and not options.run:
        raise ConfigError("--real", "nothing", "a folder of real images", "Name it with --real FOLDER.")
    for text in options.against:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise ConfigError("--against", text, "NAME=FOLDER", "For example --against cut=out/cut.")


def made_images(options: MakeOptions) -> tuple[dict[str, Pictures], OfSplit | None]:
    """Make or read the images of each algorithm; give also the data set of the first run, where it has one."""
    from i2i_core.storage.leftovers import TemporaryFolder
    from i2i_core.studies.pictures import of_folder

    made: dict[str, Pictures] = {}
    first: OfSplit | None = None
    with TemporaryFolder("study") as folder:
        for number, text in enumerate(options.run):
            name, images, data = made_by_run(options, text, f"{folder}/{number}")
            _add(made, name, images)
            first = first or data
    for text in options.against:
        name, _, place = text.partition("=")
        wanted = [*next(iter(made.values()))] if made else []
        images = of_folder(absolute(place, "--against"), "--against", wanted, options.most, options.size)
        _add(made, name, images)
    return made, first


def _add(made: dict[str, Pictures], name: str, images: Pictures) -> None:
    if name in made:
        raise ConfigError("RUN", f"two that are called {name}", "a name for each", "Call one by another: NAME=RUN.")
    made[name] = images


def made_by_run(options: MakeOptions, text: str, out: str) -> tuple[str, Pictures, OfSplit | None]:
    """Translate with a run; give its name, the images, and the data set that they were made of, where it is one."""
    import torch

    from i2i_core.checkpoints.trained import load_trained
    from i2i_core.config.translation import TranslateOptions
    from i2i_core.data.format.manifest import MANIFEST
    from i2i_core.orchestration.translating import translate
    from i2i_core.studies.pictures import OfSplit, of_folder

    named, equals, place = text.partition("=")
    named, place = (named, place) if equals and named and "/" not in named else ("", text)
    trained = load_trained(absolute(place, "RUN"), torch.device("cpu"))
    uri = options.input or trained.config.data.uris[0]
    if not uri:
        fix = "Name a data set, or a folder of images, with --input."
        raise ConfigError("--input", "nothing, and a run on built-in glyphs", "what the run translates", fix)
    takes = bool(trained.method.inputs)
    asked = TranslateOptions(
        input=uri if takes else "",
        out=out,
        split=options.split,
        count=0 if takes else options.most,
        most=options.most if takes else 0,
        target=options.target,
        back=options.back,
        gpu=options.gpu,
        cpu=options.cpu,
    )
    translate(trained.url, asked)
    images = of_folder(out, "RUN", side=options.size)
    is_set = Folder(uri).exists(MANIFEST)
    data = OfSplit(trained, uri, options.split, "BtoA" if options.back else "AtoB", options.target) if is_set else None
    return named or trained.config.run_name, images, data


def real_images(options: MakeOptions, data: OfSplit | None, wanted: Sequence[str]) -> Pictures:
    """Read the real images: of the folder that is named, else of the data set."""
    from i2i_core.studies.pictures import of_folder

    if options.real:
        return of_folder(options.real, "--real", wanted, options.most, options.size)
    if data is None:
        found = "nothing, and inputs that are no data set"
        raise ConfigError("--real", found, "a folder of real images", "Name it with --real FOLDER.")
    return data.real(wanted, options.most, options.size)


def source_images(options: MakeOptions, data: OfSplit | None, wanted: Sequence[str]) -> Pictures:
    """Read the inputs of these keys; none where nobody says what they are."""
    from i2i_core.studies.pictures import of_folder

    if data is not None:
        return data.sources(wanted, options.size)
    return of_folder(options.input, "--input", wanted, 0, options.size) if options.input else {}


# ---- read ----


def read(options: ReadOptions) -> int:
    """Print what people answered, write it where the options say so, and return the exit code."""
    logs.show(options.log_level)
    sessions = {name: _session(name) for name in named_files(options.file)}
    from i2i_core.studies.answers import Limits, counting, of_one_kind
    from i2i_core.studies.judging import as_plain, judged, table

    kind = of_one_kind(sessions)
    counts = counting(sessions.values(), Limits(options.late_ms, options.least_ms))
    if not counts.people:
        said = ", ".join(f"{why} {n}" for why, n in counts.left_out.items() if n) or "no file has any"
        raise RunError(f"not one answer counts ({said}): see --late-ms and --least-ms")
    found = judged(kind, counts, options.seed)
    people = f"{counted(found.people, 'person') if found.people == 1 else f'{found.people:,} people'}"
    say(f"{counted(len(sessions), 'file')}, {people}", *table(found))
    if options.out:
        place, _, name = absolute(options.out, "--out").rpartition("/")
        Folder(place).write(name, (json.dumps(as_plain(found), indent=1) + "\n").encode())
        say(f"written to {options.out}")
    return 0


def named_files(given: Sequence[str]) -> list[str]:
    """List the files that are named, or that a pattern matches. Raises ConfigError where there is none."""
    found: dict[str, None] = {}
    for text in given:
        local = "://" not in text and any(sign in text for sign in "*?[")
        found |= dict.fromkeys(sorted(glob.glob(text)) if local and glob.glob(text) else [text])
    if not found:
        raise ConfigError("FILE", "nothing", "files of answers", "For example study.py read answers-*.json.")
    if len(found) > MOST_FILES:
        raise ConfigError("FILE", f"{len(found):,} files", f"at most {MOST_FILES:,}", "Read them in parts.")
    return [*found]


def _session(name: str) -> Session:
    from i2i_core.studies.answers import MOST_BYTES, read_session

    place, _, file = absolute(name, "FILE").rpartition("/")
    folder = Folder(place)
    fix = corrected(absolute(name, "FILE"), "Name the files that the study's page saved.")
    if (size := folder.size(file)) > MOST_BYTES:
        raise ConfigError(name, said_bytes(size), f"at most {said_bytes(MOST_BYTES)}", fix)
    try:
        return read_session(folder.read(file), name)
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError("FILE", f"no file {name}", "a file of answers", fix) from None


if __name__ == "__main__":
    main(run)
