"""Baselines: how they are made, kept with their reasons, and refused when damaged."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from made_runs import World, keep, row

from course import baselines, drift, runs
from course.cli import main
from course.errors import CourseError
from course.runs import Key, Place

ROOT = Path(__file__).parents[1]
SHIPPED = sorted((ROOT / "baselines").glob("*/*.json"))
REASON = "The first five seeds of this machine."
DAY = "2026-11-29"
PLACE = Place("00_first")
SPREAD = (0.80, 0.79, 0.81, 0.78, 0.82)


def five(values=SPREAD, chapter="00_first", **changes):
    return [
        row(
            chapter,
            s,
            [("accuracy", v, ""), ("a step", v, "ms")],
            [("pays", v)],
            **changes,
        )
        for s, v in enumerate(values)
    ]


@pytest.fixture
def kept(tmp_path):
    """A folder with one baseline."""
    folder = tmp_path / "kept"
    baselines.update(five(), folder, REASON, DAY)
    return folder


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# Making -------------------------------------------------------------------------------


def test_a_baseline_comes_back_from_its_file_as_it_was(kept):
    (made,) = baselines.make(five(), REASON, DAY).values()
    again = baselines.read(kept, PLACE)
    assert again == made
    assert again.measured.values[Key("claim", "pays")] == dict(enumerate(SPREAD))
    assert again.measured.values[runs.MEMORY] == dict.fromkeys(range(5), 2.5)
    assert baselines.find(kept) == {PLACE: made}


def test_the_file_is_strict_json_with_one_line_for_each_value(kept):
    text = (kept / "quick" / "00_first.json").read_text("utf-8")
    content = json.loads(text, parse_constant=pytest.fail)
    assert list(content)[:4] == ["format", "chapter", "profile", "backbone"]
    assert [r["name"] for r in content["values"]] == [
        "accuracy",
        "a step",
        "pays",
        runs.TIME.name,
        runs.MEMORY.name,
    ]
    assert sum('"kind"' in line for line in text.splitlines()) == 5
    assert content["machine"]["torch"] == "2.14.1"
    assert content["values"][2]["bound"] == "at least 0.5"
    first = content["values"][0]
    assert first["mean"] == pytest.approx(np.mean(SPREAD))
    assert first["spread"] == pytest.approx(np.std(SPREAD, ddof=1))


def test_no_number_is_kept_as_null(tmp_path):
    baselines.update(five((None,) * 5), tmp_path, REASON, DAY)
    text = (tmp_path / "quick" / "00_first.json").read_text("utf-8")
    assert "NaN" not in text
    values = baselines.read(tmp_path, PLACE).measured.values
    assert values[Key("record", "accuracy")] == dict.fromkeys(range(5))


@pytest.mark.parametrize("seeds", [5, 10])
def test_the_band_holds_ninety_nine_of_a_hundred_new_seeds(seeds):
    random = np.random.default_rng(seeds)
    draws = random.standard_normal((3000, seeds + 1)) + 1000
    inside = 0
    for *values, new in draws.tolist():
        # Of the memory, whose band is not widened to half a point.
        summary = drift.summarise(Key("memory", "", "MB"), [v - 1000 for v in values])
        inside += summary.low <= new - 1000 <= summary.high
    assert 0.984 <= inside / len(draws) <= 0.996


def test_the_band_is_never_narrower_than_what_is_called_the_same():
    summary = drift.summarise(Key("record", "accuracy"), [0.4] * 5)
    assert (summary.low, summary.high) == pytest.approx((0.395, 0.405))
    summary = drift.summarise(Key("record", "loss", "nats"), [4.0] * 5)
    assert (summary.low, summary.high) == pytest.approx((3.98, 4.02))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (five(SPREAD[:4]), "was run with 4 seeds; a baseline needs 5"),
        (five(SPREAD[:1]), "1 seed;"),
        (five()[:4] + five(status="failed", error="cell 2")[4:], "failed with seed 4"),
        (five()[:4] + five(cores=64)[4:], "differ in cores"),
        (five() + five(SPREAD[:4], "01_second"), "01_second .* 4 seeds"),
    ],
)
def test_what_is_no_ground_for_a_baseline_is_refused_before_anything_is_written(
    rows, says, kept
):
    before = files(kept)
    with pytest.raises(CourseError, match=says):
        baselines.update(rows, kept, REASON, DAY)
    assert files(kept) == before


@pytest.mark.parametrize(
    "reason", ["", " " * 40, "why not", "because\n", "x" * 2000, "a" * 40]
)
def test_a_reason_that_tells_nothing_is_refused(reason, kept):
    before = files(kept)
    with pytest.raises(CourseError, match="--reason"):
        baselines.update(five(), kept, reason, DAY)
    assert files(kept) == before


def test_a_new_baseline_keeps_every_reason_and_what_moved(kept):
    lower = [value - 0.3 for value in SPREAD]
    rows = five(lower)
    for line in rows:
        line["records"][1]["name"] = "another step"
    baselines.update(rows, kept, "BatchNorm is in evaluation mode now.", "2026-12-01")
    baselines.update(five(lower), kept, "Again, with the old name.", "2026-12-02")
    first, second, third = baselines.read(kept, PLACE).history
    assert (first.date, first.reason, first.moved) == (DAY, REASON, [])
    assert second.reason == "BatchNorm is in evaluation mode now."
    assert {(r["name"], r["before"], r["now"]) for r in second.moved} == {
        ("accuracy", 0.8, 0.5),
        ("pays", 0.8, 0.5),
    }
    assert (second.gone, second.new) == (["a step"], ["another step"])
    assert (third.moved, third.new) == ([], ["a step"])


def test_each_chapter_keeps_what_moved_in_it_alone(kept):
    baselines.update(five(chapter="01_second"), kept, REASON, DAY)
    rows = five() + five([value - 0.3 for value in SPREAD], "01_second")
    written = baselines.update(rows, kept, "Something in the second chapter.", DAY)
    moved = {file.stem: [r["name"] for r in e.moved] for file, e in written.items()}
    names = ["accuracy", "pays", "a step"]
    assert moved == {"00_first": [], "01_second": names}


def test_profiles_and_backbones_have_files_of_their_own_inside_the_folder(tmp_path):
    rows = [
        *five(profile="full"),
        *five(backbone="resnet50:IMAGENET1K_V2"),
        *five(backbone="../../../outside"),
    ]
    folder = tmp_path / "deep" / "kept"
    written = baselines.update(rows, folder, REASON, DAY)
    assert {path.relative_to(folder).as_posix() for path in written} == {
        "full/00_first.json",
        "quick/00_first.resnet50-IMAGENET1K_V2.json",
        "quick/00_first.---------outside.json",
    }
    assert set(files(tmp_path)) == {f"deep/kept/{name}" for name in files(folder)}
    assert len(baselines.find(folder)) == 3


def test_two_backbones_whose_files_would_be_one_do_not_replace_each_other(tmp_path):
    with pytest.raises(CourseError, match="a:b"):
        baselines.update(
            five(backbone="a/b") + five(backbone="a:b"), tmp_path, REASON, DAY
        )
    assert files(tmp_path) == {}
    baselines.update(five(backbone="a:b"), tmp_path, REASON, DAY)
    with pytest.raises(CourseError, match="a:b"):
        baselines.update(five(backbone="a/b"), tmp_path, REASON, DAY)


# Damaged files ------------------------------------------------------------------------

DAMAGED = {
    "empty": b"",
    "half": b'[{"chapter": "00',
    "a word": b"hello",
    "no rows": b"[]",
    "null": b"null",
    "numbers": b"[1, 2]",
    "NaN": b'[{"seconds": NaN}]',
    "infinite": b'[{"seconds": 1e999}]',
    "very long number": b"[" + b"9" * 5000 + b"]",
    "long number": b"[" + b"9" * 400 + b"]",
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "no text": b"\xff\xfe\x00[]",
    "another encoding": '[{"chapter": "é"}]'.encode("utf-16"),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("reader", ["run", "baseline"])
def test_a_damaged_file_ends_in_one_sentence(content, reader, kept, tmp_path, capsys):
    good = keep(tmp_path / "good", five())
    file = (
        good / "records.json" if reader == "run" else kept / "quick" / "00_first.json"
    )
    file.write_bytes(content)
    assert main(["compare", str(good), str(kept)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"course: {file} does not hold") and err.count("\n") == 1
    assert len(err) < 600


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "9" * 400])
@pytest.mark.parametrize("reader", ["run", "baseline"])
def test_a_value_that_is_no_number_in_json_is_refused(value, reader, kept, tmp_path):
    good = keep(tmp_path / "good", five())
    file = good / "records.json" if reader == "run" else kept / "quick/00_first.json"
    file.write_text(file.read_text("utf-8").replace("0.79", value), "utf-8")
    with pytest.raises(CourseError, match=r"no number in JSON|too large for a number"):
        runs.read(good)
        baselines.find(kept)


def test_a_folder_nothing_and_too_much_end_in_one_sentence(kept, tmp_path, monkeypatch):
    file = kept / "quick" / "00_first.json"
    monkeypatch.setattr(runs, "LARGEST", 100)
    with pytest.raises(CourseError, match="larger than"):
        baselines.find(kept)
    file.unlink()
    with pytest.raises(CourseError, match="There are no baselines"):
        baselines.find(kept)
    file.mkdir()
    with pytest.raises(CourseError, match="it is no file"):
        baselines.find(kept)
    with pytest.raises(CourseError, match="no such file"):
        runs.read(tmp_path / "nowhere")
    with pytest.raises(CourseError, match="no such file"):
        runs.read(kept)


WRONG = (
    None,
    True,
    -1,
    1.5,
    10**17,
    1e99,
    -1e308,
    1e-300,
    "",
    "../x\x1b[2J\n",
    [],
    {},
    [[]],
    {"x": None},
)


def damaged(content):
    """Yield copies of a file's content, each with one thing wrong or missing."""

    def places(part, path=()):
        yield path
        items = part.items() if isinstance(part, dict) else enumerate(part)
        for key, value in items if isinstance(part, dict | list) else ():
            yield from (
                places(value, (*path, key))
                if isinstance(value, dict | list)
                else ((*path, key),)
            )

    for path in filter(None, places(content)):
        for wrong in (*WRONG, "missing"):
            changed = copy.deepcopy(content)
            *way, last = path
            part = changed
            for key in way:
                part = part[key]
            if wrong == "missing":
                del part[last]
            else:
                part[last] = wrong
            yield changed


def small(rows):
    """Return rows with one record and one claim, for which every change is tried."""
    return [{**line, "records": line["records"][:1]} for line in rows]


def test_anything_wrong_in_a_run_is_a_sentence_or_is_compared(tmp_path):
    before = {group.place: group for group in runs.gather(small(five()))}
    cases = refused = 0
    for rows in damaged(small(five())[:1]):
        cases += 1
        try:
            found = drift.compare(runs.read(keep(tmp_path / "run", rows)), before)
        except CourseError as error:
            refused += 1
            assert runs.printable(str(error)) == str(error)
        else:
            assert isinstance(found.verdict, str)
    assert cases > 300
    assert cases / 2 < refused < cases


def test_anything_wrong_in_a_baseline_is_a_sentence_or_is_compared(kept):
    baselines.update(small(five()), kept, REASON, DAY)
    file = kept / "quick" / "00_first.json"
    good, now = json.loads(file.read_text("utf-8")), one_seed()
    good["values"] = good["values"][:2]
    cases = refused = 0
    for content in damaged(good):
        cases += 1
        file.write_text(json.dumps(content), "utf-8")
        try:
            before = baselines.find(kept)
        except CourseError as error:
            refused += 1
            assert runs.printable(str(error)) == str(error)
        else:
            known = {place: kept.measured for place, kept in before.items()}
            assert isinstance(drift.compare(now, known).verdict, str)
    assert cases > 500
    assert cases / 2 < refused < cases


def one_seed():
    return small(five())[:1]


@pytest.mark.parametrize("what", ["mean", "spread", "low", "high"])
def test_a_baseline_edited_by_hand_is_refused(what, kept):
    file = kept / "quick" / "00_first.json"
    content = json.loads(file.read_text("utf-8"))
    content["values"][0][what] += 0.01
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(CourseError, match="not edited"):
        baselines.find(kept)


def test_a_baseline_in_the_place_of_another_is_refused(kept):
    (kept / "quick" / "00_first.json").rename(kept / "quick" / "01_second.json")
    with pytest.raises(CourseError, match="expected that in"):
        baselines.find(kept)


# The command --------------------------------------------------------------------------


def test_update_takes_named_chapters_alone_and_says_what_moved(kept, tmp_path, capsys):
    first, second = "00_first_prediction", "01_pretraining"
    rows = five(chapter=first) + five(chapter=second)
    assert update(keep(tmp_path / "run", rows), kept) == 0
    before = files(kept)
    rows = [
        *five([value - 0.3 for value in SPREAD], chapter=first),
        *five([value - 0.3 for value in SPREAD], chapter=second),
    ]
    capsys.readouterr()
    assert update(keep(tmp_path / "run", rows), kept, "--chapters", "1") == 0
    assert "  accuracy: was 0.8, is 0.5" in capsys.readouterr().out.splitlines()
    after = files(kept)
    assert [n for n in after if after[n] != before[n]] == [f"quick/{second}.json"]
    assert update(keep(tmp_path / "run", rows), kept, "--chapters", "2") == 2
    assert "holds no 02_feature" in capsys.readouterr().err
    history = baselines.read(kept, Place(second)).history
    assert [entry.date for entry in history] == [date.today().isoformat()] * 2


def update(run, kept, *more):
    return main(
        ["baseline", "update", str(run), *LINE, "--baselines", str(kept), *more]
    )


LINE = ("--reason", "It was found to be right.")


def test_every_reason_is_told(kept, capsys):
    baselines.update(five(), kept, "Another one\x1b[2J.", "2026-12-01")
    assert main(["baseline", "history", "--baselines", str(kept)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "00_first (quick): 5 seeds",
        f"  {DAY}  {REASON}",
        "  2026-12-01  Another one [2J.",
    ]


def test_a_reason_must_be_given(kept, tmp_path, capsys):
    run = keep(tmp_path / "run", five())
    with pytest.raises(SystemExit) as end:
        main(["baseline", "update", str(run), "--baselines", str(kept)])
    assert end.value.code == 2


def test_killed_while_it_writes_the_old_baseline_is_whole(kept, tmp_path):
    before = files(kept)
    run = keep(tmp_path / "run", five([value - 0.3 for value in SPREAD]))
    program = (
        "import os, sys\n"
        "from course.cli import main\n"
        "os.replace = lambda *places: os._exit(7)\n"
        "main(sys.argv[1:])\n"
    )
    command = ["baseline", "update", str(run), *LINE, "--baselines", str(kept)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-c", program, *command],
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )
    assert ended.returncode == 7
    after = files(kept)
    assert len(after) == 2  # the half of it has a name that no reader looks for
    assert before.items() <= after.items()
    assert baselines.read(kept, PLACE).measured.values[Key("claim", "pays")][0] == 0.8
    assert update(run, kept) == 0
    assert len(files(kept)) == 1


# What is shipped ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "file", SHIPPED, ids=lambda file: f"{file.parent.name}-{file.stem}"
)
def test_a_shipped_baseline_is_as_the_command_wrote_it(file):
    kept = {
        baselines._file(ROOT / "baselines", place): one
        for place, one in baselines.find(ROOT / "baselines").items()
    }
    assert file.read_text("utf-8") == baselines.as_text(kept[file])
    assert (ROOT / "notebooks" / f"{kept[file].measured.place.chapter}.ipynb").exists()


@pytest.mark.skipif(not SHIPPED, reason="there are no baselines yet")
def test_a_seed_of_the_shipped_baselines_is_hardly_ever_red_beside_the_others():
    kept = [one.measured for one in baselines.find(ROOT / "baselines").values()]
    seeds = sorted({seed for measured in kept for seed in measured.whole})
    red = 0
    for seed in seeds:
        before = {m.place: only(m, set(m.whole) - {seed}) for m in kept}
        found = drift.compare([rows_of(only(m, {seed})) for m in kept], before)
        assert found.compared > 400
        red += any(row.red for row in found.moved)
    assert red <= max(1, 0.2 * len(seeds))  # by chance one in twenty


def only(measured, seeds):
    """Return what was measured with some of the seeds."""
    values = {
        key: {seed: value for seed, value in row.items() if seed in seeds}
        for key, row in measured.values.items()
        if seeds & set(row)
    }
    return replace(measured, values=values, whole=tuple(sorted(seeds)))


def rows_of(measured):
    """Return the row of one seed, without times and memory."""
    place, (seed,) = measured.place, measured.whole
    rows = {
        kind: [
            (key.name, row[seed], *((key.unit,) if kind == "record" else ()))
            for key, row in measured.values.items()
            if key.kind == kind
        ]
        for kind in ("record", "claim")
    }
    about = {"profile": place.profile, "reference": None}
    return row(place.chapter, seed, rows["record"], rows["claim"], **about)


def test_a_baseline_of_two_hundred_values_is_a_small_file(tmp_path):
    rows = World(chapters=1, values=200).run(range(5))
    (file,) = baselines.update(rows, tmp_path, REASON, DAY)
    assert file.stat().st_size < 60_000
