"""Check the pages: the index, links and pictures, commands, the glossary.

pytest tests/unit/test_docs.py
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from i2i_core.cli import parse
from pipelines import evaluate, shard, train, translate, tune

from ..support.data import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "cluster/README.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"\b((?:docs|cluster)/[\w/]+\.(?:md|ipynb))(?:, \"([^\"]+)\")?")
COMMAND = re.compile(r"python (?:\S*/)?pipelines/(\w+)\.py((?: [^`|\n]*)?)")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[str]:
    """Give the targets of a page's relative links and pictures."""
    for found in LINK.finditer(FENCE.sub("", page.read_text())):
        target = found[1] or found[2]
        if not re.match(r"\w+:", target):
            yield target


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Give the program and the arguments of every whole command of ours that a page shows."""
    for program, rest in COMMAND.findall(text.replace("\\\n", "")):
        arguments = shlex.split(rest, comments=True)
        if arguments and not {"...", "--help", "--config"} & {*arguments}:
            yield program, arguments


def check_command(program: str, arguments: list[str]) -> None:
    """Read a command line as its program does. Raises UserError or SystemExit where the program refuses it."""
    if program in ("train", "tune"):
        (train if program == "train" else tune).configure(arguments)
    elif program == "shard":
        parse(shard.MakeOptions(), shard.PROGRAM, arguments)
    elif program == "translate":
        parse(translate.Command(), translate.PROGRAM, arguments)
    elif program == "evaluate":
        parse(evaluate.EvaluateOptions(), evaluate.PROGRAM, arguments)


def test_index_names_every_page() -> None:
    named = {(DOCS / target.partition("#")[0]).resolve() for target in links(DOCS / "README.md")}
    there = {page.resolve() for pattern in ("*.md", "*.ipynb") for page in DOCS.rglob(pattern)}
    assert there - named == {DOCS / "README.md"}


def test_index_has_five_parts() -> None:
    headings = re.findall(r"^## (.+)$", (DOCS / "README.md").read_text(), re.MULTILINE)
    assert headings == ["Start", "Guides", "Concepts", "Reference", "Contributing"]


@pages
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(place), f"{target}: {place.name} has no such heading"


@pages
def test_pages_named_in_pages_exist(page: Path) -> None:
    for name, heading in NAMED.findall(page.read_text()):
        assert (ROOT / name).exists(), name
        if heading:
            found = re.findall(r"^(?:#+ |\*\*\d+\. )([^*\n]+)", (ROOT / name).read_text(), re.MULTILINE)
            assert heading in {each.rstrip(".") for each in found}, name


def test_pages_named_in_code_exist() -> None:
    files = [
        path for room in ("i2i_core", "pipelines", "tune_spaces", "cluster") for path in (ROOT / room).rglob("*.py")
    ]
    named = {name for path in files for name, _ in NAMED.findall(path.read_text())}
    assert len(named) > 5, "the sources are read"
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "docs/faq.md"])
def test_commands_of_page_are_read_by_their_programs(name: str) -> None:
    found = [*commands((ROOT / name).read_text())]
    assert len(found) >= 4, "the page has commands"
    for program, arguments in found:
        check_command(program, arguments)


HOUSE, FIELD = (ROOT / "docs/glossary.md").read_text().split("## Words of the field")
OURS = re.findall(r"^\| ([^|]+) \| (.+) \| `([^`]+)` \|$", HOUSE, re.MULTILINE)


@pytest.mark.parametrize(("word", "meaning", "place"), OURS, ids=lambda part: part[:20])
def test_glossary_word_is_used_where_it_is_said_to_live(word: str, meaning: str, place: str) -> None:
    text = f"{place}\n{(ROOT / place).read_text()}"
    assert re.search(rf"(?<![a-z]){re.escape(word.removeprefix('doing '))}(?![a-z]{{3}})", text, re.IGNORECASE)
    assert meaning.endswith((".", ")"))


def test_glossary_defines_each_word_once() -> None:
    words = [word for word, _, _ in OURS] + re.findall(r"^\| ([^|]+) \| [^|]+ \|$", FIELD, re.MULTILINE)
    assert len(OURS) > 40, "the tables are read"
    assert len(words) == len({*words})


def test_readme_names_every_room() -> None:
    tree = FENCE.findall((ROOT / "README.md").read_text())[-1]
    rooms = [path.parent.name for path in (ROOT / "i2i_core").glob("*/__init__.py")]
    assert len(rooms) > 10
    assert [room for room in rooms if f"{room}/" not in tree] == []


def test_readme_has_the_numbers_of_the_table_of_methods() -> None:
    """Where both show what one command measures."""
    row_of_table = r"\| `pix2pix`,[^|]*\| `l1` \| ([\d.]+) \| ([\d.]+) \|"
    ((nothing, trained),) = re.findall(row_of_table, _text("docs/methods.md"))
    (row,) = (line for line in _text("README.md").splitlines() if line.startswith("| pix2pix's demo: L1"))
    assert f"{nothing} untouched, **{trained}**" in row
    assert "`make methods-table`" in row


def _text(page: str) -> str:
    return (ROOT / page).read_text()


def test_docs_name_a_test_for_every_kind_of_data_that_is_read() -> None:
    text = (DOCS / "data.md").read_text()
    table = text[text.index("## What is read, and how") : text.index("## Same input, same bytes")]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "there is | it is" not in line]
    named = [re.search(r"<!-- (.+?) -->", row) for row in rows]
    assert len(rows) > 50
    assert all(named), "each row has the names of its tests"
    files = (ROOT / "tests").rglob("test_*.py")
    tests = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}
    assert {name for found in named if found for name in found[1].split(", ")} <= tests
