"""Cut samples into splits by groups, so that near-copies (one person, one object, one scene) share a split."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from i2i_core.errors import ConfigError, DataError

SPLITS_IN_ORDER = ("test", "val", "train")
"""The order in which groups fill the splits."""


def compiled(pattern: str) -> re.Pattern[str]:
    """Compile the pattern of `--group-by`.

    Raises:
        ConfigError: it is no regular expression.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        fix = "For example --group-by '^[^_]+': the name up to the first underscore."
        raise ConfigError("--group-by", f"{pattern!r} ({error})", "a regular expression", fix) from None


def groups_of(names: Iterable[str], pattern: str) -> dict[str, str]:
    """Find the group of each name: what the pattern's first group matches, or the whole match where it has none.

    Raises:
        ConfigError: names in which the pattern finds nothing, with an example.
    """
    looks = compiled(pattern)
    every = list(dict.fromkeys(names))
    matches = {name: match for name in every if (match := looks.search(name))}
    found = {name: match[1 if looks.groups else 0] for name, match in matches.items()}
    without = [name for name in every if not found.get(name)]
    if without:
        shown = f"{pattern!r}, which finds no group in {len(without):,} of {len(every):,} names ({without[0]!r}, ...)"
        fix = "Write a pattern that fits every name; `^([^_]+)` takes what stands before the first underscore."
        raise ConfigError("--group-by", shown, "a group in every name", fix)
    return found


def cut_groups(
    sizes: Mapping[str, int],
    shares: tuple[float, float, float],
    ordered: Sequence[str],
    given: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Assign whole groups to splits, as close to the shares of samples as whole groups allow.

    Groups are taken in the given order. Each goes to the first of test, val and train in which at least half of it
    still fits; train is never left empty.

    Args:
        sizes: samples of each group.
        shares: of train, val and test.
        ordered: names of the groups, in a seeded order.
        given: groups whose split is settled already.

    Returns:
        The split of each group.
    """
    n, settled = sum(sizes.values()), dict(given or {})
    test = int(shares[2] * n + 0.5)
    room = {"test": test, "val": min(int(shares[1] * n + 0.5), n - test), "train": n}
    for name, split in settled.items():
        room[split] -= sizes.get(name, 0)
    splits = {name: settled[name] for name in ordered if name in settled}
    for name in ordered:
        if name not in splits:
            splits[name] = next((s for s in SPLITS_IN_ORDER if sizes[name] / 2 <= room[s]), "train")
            room[splits[name]] -= sizes[name]
    free = [name for name in ordered if name not in settled]
    if shares[0] and free and "train" not in splits.values():
        splits[free[-1]] = "train"
    return splits


def check_apart(places: Iterable[tuple[str, str, str]], where: str) -> None:
    """Check that no group lies in two splits.

    Args:
        places: group, split and name of each sample.
        where: names the input in the message.

    Raises:
        DataError: naming a group and a sample of it in each of two splits.
    """
    seen: dict[str, tuple[str, str]] = {}
    for group, split, name in places:
        other, first = seen.setdefault(group, (split, name))
        if other != split:
            found = f"group {group!r} in two splits: {first!r} in {other}, {name!r} in {split}"
            fix = "Move its images into one split's folder; or put all images into one folder, which --split then cuts."
            raise DataError(where, found, "each group of --group-by in one split", fix)


def described(sizes: Mapping[str, int]) -> str:
    """Say how many groups there are, and how large the largest is."""
    name, most = max(sizes.items(), key=lambda item: (item[1], item[0]))
    return f"{len(sizes):,} groups by --group-by; the largest, {name!r}, has {most:,} samples"


def sizes_of(groups: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Count the samples of each group, by domain.

    Args:
        groups: domain and group of each sample.
    """
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    for domain, group in groups:
        sizes[domain][group] += 1
    return {domain: dict(counts) for domain, counts in sizes.items()}
