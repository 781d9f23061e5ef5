"""A mistake in a chapter's machinery turns the chapter red: mutants that were planted.

A test runs what leads to the claim, in the profile quick: with the mutant the claim has
to fail, or a guard has to speak up; without it the claim holds. With HARD=1 whole
chapters are run, each with a mutant, as `course run` does.
"""

import os
import re

import pytest

from mutants import planted, slices, table, trial
from mutants.planted import MUTANTS, SURVIVORS

HARD = bool(os.environ.get("HARD"))
QUICK = [mutant for mutant in MUTANTS if HARD or not mutant.hard]
# nbval runs all of every chapter, and `table.py` each part without its mutant. So here
# some parts are run without, and with HARD=1 all. Guards have no figures.
CONTROLS = MUTANTS if HARD else [one for one in MUTANTS[::3] if not one.hard]
CONTROLS = [mutant for mutant in CONTROLS if not mutant.guard or HARD]


def named(mutant):
    return re.sub(r"\W+", "_", mutant.name)


@pytest.fixture(scope="module")
def player():
    with trial.Trial() as ready:
        yield ready


@pytest.mark.parametrize("mutant", QUICK, ids=named)
def test_mutant_turns_its_chapter_red(mutant, player):
    outcome = player.of(mutant)
    assert trial.caught(mutant, outcome), outcome


@pytest.mark.parametrize("mutant", CONTROLS, ids=named)
def test_without_its_mutant_the_same_part_of_a_chapter_is_green(mutant, player):
    outcome = player.of(mutant, planting=False)
    assert trial.green(mutant, outcome), outcome


@pytest.mark.skipif(not HARD, reason="a minute for each mutant: HARD=1")
@pytest.mark.parametrize("mutant", MUTANTS, ids=named)
def test_mutant_turns_a_run_of_the_whole_chapter_red(mutant, tmp_path):
    result = table.whole(mutant, tmp_path)
    assert result["status"] == "failed"
    assert (mutant.guard or "ClaimError") in result["error"]


@pytest.mark.parametrize("mutant", (*MUTANTS, *SURVIVORS), ids=named)
def test_a_mutant_still_fits_the_source(mutant):
    text = (planted.ROOT / "course" / mutant.file).read_text("utf-8")
    assert planted.edited(mutant, text) != text


def test_every_chapter_has_a_mutant():
    chapters = {path.stem for path in slices.NOTEBOOKS.glob("[0-9]*.ipynb")}
    assert chapters == {mutant.chapter for mutant in MUTANTS}
    assert len(MUTANTS) >= 14 and sum(bool(mutant.hard) for mutant in MUTANTS) <= 2


def test_the_table_in_the_docs_has_every_mutant_in_its_place():
    rows = table.rows_of(table.PLACE.read_text("utf-8"))
    expected = [(one.name, one.place) for one in (*MUTANTS, *SURVIVORS)]
    assert sorted(rows) == sorted(expected)


# Slices: what leads to a claim --------------------------------------------------------


def of_chapter(monkeypatch, *cells):
    pieces = [p for n, cell in enumerate(cells) for p in slices.read(f"c{n}", cell)]
    monkeypatch.setattr(slices, "pieces", lambda chapter: tuple(pieces))
    return [piece.source.strip() for piece in slices.leading_to("", "CLAIM")]


def test_a_slice_leaves_out_what_the_claim_does_not_use(monkeypatch):
    assert of_chapter(
        monkeypatch, "import x, y\na = x.f()\nb = y.g(a)\nc = b", "CLAIM = a"
    ) == ["import x, y", "a = x.f()", "CLAIM = a"]


def test_a_slice_has_what_a_function_uses_when_it_is_called(monkeypatch):
    cells = ["def f():\n    return late", "late = 1\nother = 2", "CLAIM = f()"]
    assert of_chapter(monkeypatch, *cells) == [cells[0], "late = 1", cells[2]]


def test_a_slice_stops_at_the_last_value_of_a_name(monkeypatch):
    cells = ["a = dear()", "a = 1", "CLAIM = a"]
    assert of_chapter(monkeypatch, *cells) == cells[1:]


def test_a_slice_goes_on_behind_a_value_that_may_not_be_set(monkeypatch):
    cells = ["a = 1", "if q:\n    a = 2", "CLAIM = a"]
    assert of_chapter(monkeypatch, *cells) == cells


@pytest.mark.parametrize(
    "change",
    [
        "a.append(1)",
        "a['x'] = 1",
        "a.b += 1",
        "m.fit(a)",
        "history = m.fit(a)",
        "for row in zip(a.values()):\n    row.append(1)",
        "hook = layer.add_hook(lambda out: a.update(out))",
        "def f():\n    a['x'] = 1\n\n\nfound = run(f)",
    ],
)
def test_a_slice_has_what_changes_an_object_on_the_way(monkeypatch, change):
    cells = ["import m", "a = {}", change, "CLAIM = a"]
    found = of_chapter(monkeypatch, *cells)
    assert change.split("\n\n\n")[-1] in found
    assert found[-2:] == [change.split("\n\n\n")[-1], "CLAIM = a"]


def test_a_slice_of_words_that_no_statement_has_says_so(monkeypatch):
    with pytest.raises(LookupError, match="0 places"):
        of_chapter(monkeypatch, "a = 1")


def test_an_edit_whose_old_text_is_gone_says_so():
    with pytest.raises(LookupError, match="plant it anew"):
        planted.edited(MUTANTS[0], "nothing of the kind")
