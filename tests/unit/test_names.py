"""Names are data: what is shown of one steers no terminal, and what becomes a file's name is one part of a path.

pytest tests/unit/test_names.py
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2i_core import cli
from i2i_core.config.launch import LaunchConfig
from i2i_core.config.run import TrainConfig
from i2i_core.errors import ConfigError, DataError, RunError, UserError, nearest
from i2i_core.names import MOST_NAME, alike, listed, no_part, printable, printable_text, quoted, shortened

ROOT = Path(__file__).parents[2]
HOSTILE = {
    "an escape": ("a\x1b[2Jb", r"a\x1b[2Jb"),
    "a new line": ("a\nerror: b", r"a\nerror: b"),
    "a return": ("a\rb", r"a\rb"),
    "a bell": ("a\x07b", r"a\x07b"),
    "an escape in one byte": ("a\x9b2Jb", r"a\x9b2Jb"),
    "right to left": ("a\u202egnp.exe", r"a\u202egnp.exe"),
    "an isolate": ("a\u2066b", r"a\u2066b"),
    "no width": ("a\u200bb", r"a\u200bb"),
    "a line of Unicode": ("a\u2028b", r"a\u2028b"),
    "no character": ("a\udcffb", r"a\udcffb"),
}
Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("case", HOSTILE)
def test_printable_escapes_what_a_terminal_obeys_or_hides(case: str) -> None:
    name, shown = HOSTILE[case]
    assert printable(name) == shown
    assert printable(shown) == shown, "once is enough"


@pytest.mark.parametrize("name", ["", "a b&c", "日本語 é", "مرحبا", "🙂", r"C:\x1b", "x" * 300])
def test_printable_leaves_other_names_alone(name: str) -> None:
    assert printable(name) == name


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_printable_gives_one_line_that_every_terminal_and_file_takes(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()
    assert printable(shown) == shown


def test_printable_text_keeps_our_own_lines_and_no_others() -> None:
    assert printable_text("found a\nb.\n  Do c\x1b.\n    d") == "found a\\nb.\n  Do c\\x1b.\n    d"


@pytest.mark.parametrize("case", HOSTILE)
def test_errors_show_names_escaped_in_every_part(case: str) -> None:
    name, shown = HOSTILE[case]
    said = str(DataError(f"{name}.png", name, f"no {name}", f"Rename {name}.\n    {name}"))
    assert said == f"{shown}.png: found {shown}; expected no {shown}.\n  Rename {shown}.\n    {shown}"
    assert shown in nearest("x", [name])


@pytest.mark.parametrize("kind", [UserError, RunError])
def test_main_prints_an_error_with_names_escaped(kind: type[Exception], capsys: Captured) -> None:
    def run() -> int:
        name = "a\x1b]0;x\x07\nfailed: b"
        raise RunError(name) if kind is RunError else UserError(name, name, name, name)

    with pytest.raises(SystemExit):
        cli.main(run)
    said = capsys.readouterr().err
    assert r"a\x1b]0;x\x07\nfailed: b" in said
    assert said.replace("\n  ", "").rstrip("\n").isprintable()


def test_say_prints_each_line_escaped(capsys: Captured) -> None:
    cli.say("", "note: a\x1b[31m\nb", 7)
    assert capsys.readouterr().out == "\nnote: a\\x1b[31m\\nb\n7\n"


def test_programs_print_through_say_alone() -> None:
    printing = []
    for file in sorted((ROOT / "pipelines").glob("*.py")):
        calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        printing += [file.name for call in calls if call in ("print", "sys.stdout.write", "sys.stderr.write")]
    assert printing == []


@pytest.mark.parametrize(
    "name",
    [
        *("a/b", "/a", "a/", "..", ".", "../a", "a\\b", "a\nb", "\x1b", "a\u202eb", "\udcff", "a::b", " a"),
        *("*", "a?", "[ab]"),
        *("x" * 241, "é" * 121),
    ],
)
def test_run_names_are_one_part_of_a_path(name: str) -> None:
    assert no_part(name)
    with pytest.raises(ConfigError, match=r"--name: found .*; expected one name") as caught:
        LaunchConfig(name=name).check_name()
    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "horses", "h2z-64", "Pferde & Zebras", "日本語", "x" * 240, "...", "a..b"])
def test_run_names_of_other_kinds_are_taken(name: str) -> None:
    LaunchConfig(name=name).check_name()


def test_run_names_with_folders_are_shown_as_storage_and_name() -> None:
    """A run that an earlier program wrote there is found again so."""
    with pytest.raises(ConfigError, match="Give --storage 'runs/my group' --name horses"):
        LaunchConfig(name="my group/horses").check_name()
    with pytest.raises(ConfigError, match="Give --name horses, say"):
        LaunchConfig(name="../x/horses").check_name()


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=30))
def test_part_of_a_path_is_one_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    if no_part(name):
        return
    above = tmp_path_factory.mktemp("above")
    (above / name).mkdir()
    assert [p.name for p in above.iterdir()] == [name]


def test_run_names_that_are_made_fit_a_file_system() -> None:
    def named(*uris: str) -> str:
        config = TrainConfig.of("pix2pix", "demo")
        return config.with_section("data", uri=uris[0], also=uris[1:]).run_name

    assert named("data/maps").startswith("pix2pix-demo-maps-")
    long = named("data/" + "é" * 200, "data/b")
    assert len(f"sweep-{long}".encode()) <= MOST_NAME
    assert no_part(long) == no_part(named("data/a\x1b\nb")) == ""
    assert len(long.rpartition("-")[2]) == 8, "the hash is whole"


def test_shortened_cuts_between_characters() -> None:
    assert [shortened("aé日", n) for n in range(7)] == ["", "a", "a", "aé", "aé", "aé", "aé日"]


ODD = ("Smith, John", "long hair", "+plus", "-minus", 'say "x"', "Café", "a", "b", "a,b", "none", "plain")


@pytest.mark.parametrize("name", ODD)
def test_listed_gives_a_name_that_was_quoted(name: str) -> None:
    assert listed(quoted(name), ODD) == listed(quoted(name)) == [name]
    assert listed(f"plain, {quoted(name)} ,x", ODD) == ["plain", name, "x"]
    assert listed(f"+{quoted(name)},-{quoted(name)}")[0] in (f"+{name}", f"+{quoted(name)}")


def test_listed_takes_the_longest_known_name_and_else_cuts_at_commas() -> None:
    assert listed("Smith, John,long hair", ODD) == ["Smith, John", "long hair"]
    assert listed("+Smith, John,-plain", ODD) == ["+Smith, John", "-plain"]
    assert listed("a,b", ODD) == ["a,b"]
    assert listed("a,b,plain", ODD) == ["a,b", "plain"]
    assert listed('"a",b', ODD) == ["a", "b"]
    assert listed(" a ,, b,", ("a", "b")) == ["a", "b"]
    assert listed('"",') == listed("") == listed(" , ") == []
    assert listed("ab", ("a",)) == ["ab"]
    assert listed(" a ", (" a ", "a")) == [" a "], "a name that was given back as it is known"


def test_listed_knows_a_name_however_its_accents_are_written() -> None:
    composed, parted = "Caf\u00e9", "Cafe\u0301"
    assert listed(parted, (composed,)) == [composed]
    assert listed(composed, (parted,)) == [parted]
    assert listed(f"+{composed}", (parted,)) == [f"+{parted}"]


@given(st.lists(st.text("ab,+-\"' é", min_size=1), min_size=1, max_size=4, unique=True))
@settings(max_examples=100, deadline=None)
def test_listed_reads_any_names_that_were_quoted(names: list[str]) -> None:
    names = [name for name in names if name.strip()] or ["x"]
    assert listed(",".join(map(quoted, names))) == names


@pytest.mark.parametrize(
    ("names", "two"),
    [
        (("Cat", "dog", "cat"), ("Cat", "cat")),
        (("Caf\u00e9", "Cafe\u0301"), ("Caf\u00e9", "Cafe\u0301")),
        (("cat", "cat "), ("cat", "cat ")),
        (("Stra\u00dfe", "STRASSE"), ("Stra\u00dfe", "STRASSE")),
        (("cat", "dog", "cats"), None),
    ],
)
def test_alike_finds_names_that_a_person_takes_for_one(names: tuple[str, ...], two: tuple[str, str] | None) -> None:
    assert alike(names) == two
