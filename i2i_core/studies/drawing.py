"""Draw the trials of a study: which images stand beside each other, in which order, on which side.

A sheet is what one person sees. Everything is drawn from the study's seed and the sheet's number, before the page is
written, so that the page only shows what was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from i2i_core.errors import DataError
from i2i_core.randomness import permutation, seed_from

Mode = Literal["real", "preference"]
Question = Literal["fake", "real"]
Pairs = Literal["different", "same"]


@dataclass(frozen=True)
class Plan:
    """Say how trials are drawn.

    Attributes:
        mode: `real`: a real image and a made one, one after the other; `preference`: outputs of two algorithms for one
            input, beside each other.
        question: in mode `real`, the image that people are asked for: `fake`, as pix2pix's article asks, or `real`, as
            CycleGAN's does.
        pairs: in mode `real`, the real image that a made one is compared with: `same`: that of its own key;
            `different`: that of another.
        practice: trials with feedback before the others; only in mode `real`.
        trials: trials that count.
        sheets: number of sheets.
        seed: seed of all draws.
    """

    mode: Mode = "real"
    question: Question = "fake"
    pairs: Pairs = "different"
    practice: int = 10
    trials: int = 40
    sheets: int = 50
    seed: int = 0

    @property
    def each(self) -> int:
        """Trials of a sheet, practice included."""
        return self.practice + self.trials


@dataclass(frozen=True)
class Shown:
    """Name an image of a trial: the algorithm that made it (None: it is real), and its key."""

    by: str | None
    key: str


Trial = tuple[Shown, Shown]
"""The image on the left and the one on the right."""
Sheet = list[Trial]


def draw(plan: Plan, made: Mapping[str, Sequence[str]], real: Sequence[str]) -> list[Sheet]:
    """Draw every sheet of a study. No image is shown twice on a sheet, and each side has one half of the answers.

    In mode `real` a sheet has made images of one algorithm, and the algorithms take turns from sheet to sheet. In mode
    `preference` each sheet has all pairs of algorithms, equally often.

    Args:
        made: by algorithm, the keys of the images that it made.
        real: keys of the real images.

    Raises:
        DataError: there are too few images.
    """
    keys = shared(plan, made, real)
    if plan.mode == "preference":
        return [_preferences(plan, number, [*made], keys) for number in range(plan.sheets)]
    names = [*made]
    return [_reals(plan, number, names[number % len(names)], keys, real) for number in range(plan.sheets)]


def shared(plan: Plan, made: Mapping[str, Sequence[str]], real: Sequence[str]) -> list[str]:
    """List the keys that a trial can take, in the order of the first algorithm: all algorithms are judged on the same.

    Raises:
        DataError: there are fewer than a sheet takes.
    """
    others = [set(keys) for keys in made.values()]
    if plan.mode == "real" and plan.pairs == "same":
        others.append(set(real))
    keys = [key for key in next(iter(made.values())) if all(key in other for other in others)]
    fix = f"Give fewer --trials or --practice (together at most {max(len(keys), 1)}), or more images."
    if len(keys) < plan.each:
        of = "real images and all algorithms" if plan.pairs == "same" and plan.mode == "real" else "all algorithms"
        found = f"{len(keys)} keys that {of} have" if len(others) > 1 else f"{len(keys)} made images"
        raise DataError("the study's images", found, f"at least {plan.each}, one for each trial", fix)
    if plan.mode == "real" and plan.pairs == "different" and len(real) < max(plan.each, 2):
        fix = "Give fewer --trials or --practice, or more real images."
        raise DataError("the study's images", f"{len(real)} real images", f"at least {max(plan.each, 2)}", fix)
    return keys


def _reals(plan: Plan, number: int, algorithm: str, keys: Sequence[str], real: Sequence[str]) -> Sheet:
    """Draw a sheet of made images beside real ones."""
    seed = plan.seed, number
    chosen = [keys[i] for i in permutation(len(keys), *seed, "made")[: plan.each]]
    beside = chosen if plan.pairs == "same" else _others(chosen, real, *seed, "real")
    left = _sides(plan.practice, *seed, "practice") + _sides(plan.trials, *seed, "sides")
    pairs = [(Shown(algorithm, a), Shown(None, b)) for a, b in zip(chosen, beside, strict=True)]
    return [pair if at_left else (pair[1], pair[0]) for pair, at_left in zip(pairs, left, strict=True)]


def _others(chosen: Sequence[str], real: Sequence[str], *seed: Any) -> list[str]:
    """Draw a real image for each made one, of another key."""
    drawn = [real[i] for i in permutation(len(real), *seed)]
    for i, key in enumerate(chosen):
        if drawn[i] == key:
            after = (i + 1) % len(drawn)
            drawn[i], drawn[after] = drawn[after], drawn[i]
    return drawn[: len(chosen)]


def _preferences(plan: Plan, number: int, names: Sequence[str], keys: Sequence[str]) -> Sheet:
    """Draw a sheet of outputs of two algorithms."""
    seed = plan.seed, number
    pairs = [*combinations(names, 2)]
    chosen = [keys[i] for i in permutation(len(keys), *seed, "made")[: plan.each]]
    first = seed_from(*seed, "first") % len(pairs)
    of = [pairs[(first + int(i)) % len(pairs)] for i in permutation(plan.each, *seed, "pairs")]
    sheet = [(Shown(a, key), Shown(b, key)) for (a, b), key in zip(of, chosen, strict=True)]
    turned = _turns(of, *seed)
    return [(b, a) if turn else (a, b) for (a, b), turn in zip(sheet, turned, strict=True)]


def _turns(of: Sequence[tuple[str, str]], *seed: Any) -> list[bool]:
    """Draw which trials have their two algorithms the other way round: one half of the trials of each pair."""
    found = [False] * len(of)
    for pair in dict.fromkeys(of):
        places = [i for i, one in enumerate(of) if one == pair]
        for place, turn in zip(places, _sides(len(places), *seed, *pair), strict=True):
            found[place] = turn
    return found


def _sides(count: int, *seed: Any) -> list[bool]:
    """Draw `count` sides, one half of each; of an odd number it is drawn which side has one more."""
    extra = seed_from(*seed, "extra") % 2
    return [(int(i) + extra) % 2 == 0 for i in permutation(count, *seed)]
