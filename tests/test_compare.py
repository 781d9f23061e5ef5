"""What moved in a run: chance and its limits, what is gone, and what is red."""

import io
import json
import math
import os
import sys

import numpy as np
import power_of_compare as power
import pytest
from made_runs import World, keep, row
from scipy import stats

from course import drift, runs
from course.cli import main
from course.errors import CourseError
from course.runs import Key

HARD = bool(os.environ.get("HARD"))
RUNS = 4000 if HARD else 400
SPREAD = (0.80, 0.79, 0.81, 0.78, 0.82)


def gathered(rows):
    return {group.place: group for group in runs.gather(rows)}


def five(values=SPREAD, name="accuracy", unit="", **changes):
    """Return the rows of a baseline: one record, with five seeds."""
    return [
        row(seed=seed, records=[(name, value, unit)], **changes)
        for seed, value in enumerate(values)
    ]


def one(value, seed=9, name="accuracy", unit="", **changes):
    return [row(seed=seed, records=[(name, value, unit)], **changes)]


def compared(now, before, **options):
    return drift.compare(now, gathered(before), **options)


# Chance -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "seeds"), [(0, 3), (1800, 1)], ids=["normal values", "shares of pictures"]
)
def test_runs_in_which_nothing_moved_are_red_five_times_in_a_hundred(of, seeds):
    world = World(of=of, seed=4)
    red = sum(
        compared(world.run(range(10, 10 + seeds)), world.run(range(5))).red
        for _ in range(RUNS)
    )
    error = math.sqrt(0.05 * 0.95 / RUNS)
    print(f"red: {red / RUNS:.4f}")
    assert 0.01 <= red / RUNS <= 0.05 + 2.6 * error


@pytest.mark.parametrize("shift", [12, -12])
def test_a_value_that_moved_by_twelve_spreads_is_found_and_told_from_the_others(shift):
    world, others, times = World(seed=5), 0, 0
    for _ in range(20):
        before = world.run(range(5))
        world.shifts = {50: shift}
        moved = compared(world.run(range(5, 8)), before).moved
        world.shifts = {}
        right = [
            (r.chapter, r.name, r.red) == ("01_made", "value 2", True)
            and np.sign(r.now - r.before) == np.sign(shift)
            for r in moved
            if r.kind in ("record", "claim")
        ]
        times += any(right)
        others += right.count(False)
    assert times >= 16
    assert others <= 4


def test_standard_errors_and_p_are_those_of_a_new_mean_beside_five_seeds():
    now = one(13, seed=7, unit="nats") + one(15, seed=8, unit="nats")
    (moved,) = compared(now, five((1, 2, 3, 4, 5), unit="nats")).moved
    spread = math.sqrt(2.5)
    errors = (14 - 3) / (spread * math.sqrt(1 / 2 + 1 / 5))
    assert (moved.before, moved.now) == (3, 14)
    assert moved.spread == pytest.approx(spread)
    assert moved.standard_errors == pytest.approx(errors)
    assert moved.p_adjusted == pytest.approx(2 * (1 - stats.t.cdf(errors, 4)))


def test_the_more_values_are_looked_at_the_further_one_has_to_move():
    names = [f"value {k}" for k in range(200)]
    alone = compared(one(0.95), five()).moved
    assert [r.red for r in alone] == [True]
    many = [
        row(seed=s, records=[("accuracy", v, ""), *((n, s / 10, "") for n in names)])
        for s, v in enumerate(SPREAD)
    ]
    crowd = one(0.95)
    crowd[0]["records"] += [{"name": n, "value": 0.2, "unit": ""} for n in names]
    assert compared(crowd, many).moved == []


def test_a_difference_too_small_to_matter_is_never_called_moved():
    tight = [0.9 + k * 1e-5 for k in range(5)]
    assert compared(one(0.9049), five(tight)).moved == []
    assert compared(one(0.9052), five(tight)).red


def test_the_page_shows_what_a_simulation_finds():
    page = power.PAGE.read_text("utf-8")
    lines = page.split(power.START)[1].split(power.END)[0].split("\n")
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert [tuple(map(int, line[:2])) for line in cells[1:]] == list(power.SEEDS)
    random = np.random.default_rng(99)
    rounds = dict(zip(power.MOVED, (1500, 40, 40), strict=True))
    if not HARD:
        del rounds[1]
    for line, seeds in zip(cells[1:], power.SEEDS, strict=True):
        shown = dict(zip(power.MOVED, map(float, line[2:]), strict=True))
        for moved, times in rounds.items():
            share = power.found(*seeds, moved, shown[moved], times, random)
            assert 0.74 <= share <= 0.95, (line, moved)


# Values that no seed changes, and no numbers ------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "seed", "changes", "red"),
    [
        (2.0, "nats", 3, {}, False),
        (2.00001, "nats", 3, {}, True),  # the same seed on the same class of machine
        (2.000001, "nats", 3, {}, False),  # rounding
        (2.00001, "nats", 9, {}, False),  # another seed
        (2.00001, "nats", 3, {"cores": 8}, False),  # another class
        (2.009, "nats", 9, {}, False),
        (2.011, "nats", 9, {}, None),
        (2.011, "nats", 3, {"machine": "arm64"}, None),
        (2.99, "nats", 9, {}, None),
        (0.99, "nats", 3, {"machine": "arm64"}, True),
        (3.01, "nats", 9, {}, True),
    ],
)
def test_a_value_without_spread_has_stated_limits(value, unit, seed, changes, red):
    """Red, listed without being red (None), or not listed."""
    found = compared(
        one(value, seed, unit=unit, **changes), five((2.0,) * 5, unit=unit)
    )
    assert found.red is bool(red)
    assert [(row.red, row.p_adjusted) for row in found.moved] == (
        [] if red is False else [(bool(red), None)]
    )


@pytest.mark.parametrize(
    ("unit", "value", "red"),
    [
        *(("", 0.1049, False), ("", 0.1051, None), ("", 0.199, None)),
        *(("", 0.201, True), ("%", 0.59, False), ("%", 0.61, None)),
        *(("%", 10, None), ("%", 10.2, True)),
    ],
)
def test_the_limits_of_a_share_are_half_a_point_and_ten_points(unit, value, red):
    found = compared(one(value, unit=unit), five((0.1,) * 5, unit=unit))
    assert [row.red for row in found.moved] == ([] if red is False else [bool(red)])


@pytest.mark.parametrize(
    ("before", "now", "red"),
    [
        ((None,) * 5, None, False),
        ((None,) * 5, 0.5, True),
        (SPREAD, None, True),
        ((None, *SPREAD[1:]), None, False),
        ((None, *SPREAD[1:]), 0.8, False),
        ((None, *SPREAD[1:]), 0.1, True),
    ],
)
def test_no_number_is_compared_as_what_it_is(before, now, red):
    found = compared(one(now), five(before))
    assert (found.red, found.compared) == (red, 3)


def test_memory_that_is_no_number_any_more_is_red_and_a_time_only_when_asked():
    before = five(unit="MB") + five(unit="×", chapter="01_b")
    now = one(None, unit="MB") + one(None, unit="×", chapter="01_b")
    assert [r.red for r in compared(now, before).moved] == [True, False]
    assert [r.red for r in compared(now, before, timing=True).moved] == [True, True]


def test_a_seed_that_gives_no_number_is_red_beside_others_that_do():
    found = compared(one(0.8, 7) + one(None, 8), five())
    assert [(row.now, row.red) for row in found.moved] == [(None, True)]


# Times and memory ---------------------------------------------------------------------


def timed(seconds, reference, seed, value=None):
    record = ("a step", seconds if value is None else value, "s")
    return row(
        seed=seed,
        records=[record],
        seconds=60 * seconds,
        reference={"seconds": reference, "mb": 400.0},
    )


BEFORE = [timed(1 + seed / 50, 1, seed) for seed in range(5)]


def test_a_machine_half_as_fast_has_moved_nothing():
    assert compared([timed(2.04, 2, 9)], BEFORE, timing=True).moved == []


def test_a_slower_chapter_is_told_and_counts_only_when_asked():
    slow = [timed(4, 1, 9)]
    found = compared(slow, BEFORE)
    assert [row.kind for row in found.moved] == ["time", "time"]
    assert not found.red
    assert compared(slow, BEFORE, timing=True).red
    faster = compared([timed(0.2, 1, 9)], BEFORE, timing=True)
    assert len(faster.moved) == 2 and not faster.red


@pytest.mark.parametrize(("unit", "value"), [("s", 0.001), ("ms", 1), ("µs", 1000)])
def test_times_are_compared_in_the_seconds_of_the_reference(unit, value):
    (group,) = runs.gather(one(value, unit=unit, reference={"seconds": 4, "mb": 1}))
    assert group.values[Key("time", "accuracy", runs.RATIO)] == {9: 0.00025}


def test_a_rate_counts_what_is_done_while_the_reference_runs():
    (group,) = runs.gather(one(500, unit="images/s", reference={"seconds": 4, "mb": 1}))
    assert group.values[Key("time", "accuracy", "images per reference")] == {9: 2000}


@pytest.mark.parametrize(
    ("now", "spread", "listed", "red"),
    [
        (1040, 0, True, False),
        (1150, 0, True, True),
        (1040, 1, True, False),
        (1150, 1, True, True),
        (700, 1, True, False),
        (1150, 60, False, False),
    ],
)
def test_memory_is_red_when_it_grew_by_a_tenth_and_beyond_its_band(
    now, spread, listed, red
):
    before = [row(seed=s, peak_mb=1000.0 + spread * (s - 2)) for s in range(5)]
    found = compared([row(seed=9, peak_mb=float(now))], before)
    assert [r.kind for r in found.moved] == ["memory"] * listed
    assert found.red is red


@pytest.mark.parametrize(
    ("lacks", "compared_yet"), [({"reference": None}, 0), ({"peak_mb": None}, 2)]
)
def test_without_a_reference_times_and_memory_are_left_out_and_it_is_said(
    lacks, compared_yet
):
    found = compared([timed(1, 1, 9) | lacks], BEFORE, timing=True)
    assert (found.moved, found.gone, found.compared) == ([], [], compared_yet)
    assert "reference cell" in found.notes[0] and "00_first" in found.notes[0]


# Gone, new, failed --------------------------------------------------------------------


def test_what_every_seed_had_and_the_run_has_not_is_gone_and_red():
    before = [
        row(
            seed=s,
            records=[("a", 1, ""), *([("at times", 1, "")] if s else [])],
            claims=[("holds", 0.9)],
        )
        for s in range(5)
    ]
    found = compared([row(seed=0)], before)
    assert {(r.name, r.kind) for r in found.gone} == {
        ("a", "record"),
        ("holds", "claim"),
    }
    assert found.red


def test_what_one_of_two_seeds_lacks_is_gone():
    assert compared([*one(0.8, 0), row(seed=1)], five()).gone[0].name == "accuracy"


def test_what_is_new_is_a_note():
    now = row(seed=0, records=[("accuracy", SPREAD[0], ""), ("fresh", 3, "")])
    found = compared([now], five())
    assert [r.name for r in found.new] == ["fresh"]
    assert not found.red


def test_a_name_that_comes_again_is_compared_with_its_own():
    before = [
        row(seed=s, records=[("a", v, ""), ("a", v / 4, "")])
        for s, v in enumerate(SPREAD)
    ]
    now = row(seed=9, records=[("a", 0.8, ""), ("a", 0.8, "")])
    assert [r.name for r in compared([now], before).moved] == ["a (2)"]


def test_a_failed_chapter_is_red_and_what_it_did_not_reach_is_not_gone():
    stopped = {"status": "failed", "seconds": 1.0, "peak_mb": 500.0, "cell": "abc"}
    now = row(seed=3, error="cell 2: ClaimError", **stopped)
    found = compared([now], five())
    assert [(r.seed, r.cell) for r in found.failed] == [(3, "abc")]
    assert (found.gone, found.moved, found.red) == ([], [], True)


def test_what_a_failed_chapter_measured_before_is_compared():
    now = one(0.1, status="failed", error="cell 2: ClaimError")
    assert [r.name for r in compared(now, five()).moved] == ["accuracy"]


def test_a_claim_that_does_not_hold_is_red_but_for_the_smallest_profile():
    def run(profile):
        claim = ("pays", 0.1, False, "at least 0.5")
        return [row(seed=1, claims=[claim], profile=profile)]

    found = compared(run("quick"), run("quick"))
    assert [(r.text, r.bound) for r in found.broken] == [("pays", "at least 0.5")]
    assert found.red
    assert not compared(run("smoke"), run("smoke")).red


def test_a_bound_that_was_moved_is_said():
    before = [row(seed=s, claims=[("pays", 0.6)]) for s in range(5)]
    now = [row(seed=1, claims=[("pays", 0.6, True, "at least 0.1")])]
    (note,) = compared(now, before).notes
    assert "at least 0.5" in note and "at least 0.1" in note


def test_another_profile_or_backbone_is_not_compared_and_it_is_said():
    now = one(0.1, profile="full") + one(0.1, backbone="resnet10-glyphs")
    found = compared(now, five())
    assert (found.compared, found.red) == (0, False)
    assert ["full" in found.notes[0], "resnet10-glyphs" in found.notes[1]] == [True] * 2
    assert compared(now[1:], five(backbone="resnet10-glyphs")).red


def test_a_chapter_that_was_not_run_is_said():
    before = five() + five(chapter="01_second")
    (note,) = compared(one(0.8), before).notes
    assert "01_second" in note


def test_values_of_the_same_seeds_are_counted():
    now = one(SPREAD[0], 0) + one(SPREAD[1] + 1e-6, 1) + one(0.8, 9)
    found = compared(now, five())
    assert (found.exact, found.same_seed) == (1, 2)


def test_what_is_red_and_furthest_comes_first():
    names = {"a": 0.3, "b": 0.1, "c": 0.8}
    before = [
        row(seed=s, records=[(n, v, "") for n in names], peak_mb=1000.0 + s)
        for s, v in enumerate(SPREAD)
    ]
    now = row(seed=9, records=[(n, v, "") for n, v in names.items()], peak_mb=500.0)
    assert [r.name for r in compared([now], before).moved] == [
        "b",
        "a",
        runs.MEMORY.name,
    ]


def test_another_machine_and_other_versions_are_told():
    now = one(0.8, cores=64, packages={"torch": "3.0", "torchvision": "0.29.1"})
    assert [(c.what, c.before, c.now) for c in compared(now, five()).changed] == [
        ("cores", "2", "64"),
        ("torch", "2.14.1", "3.0"),
    ]


def test_two_runs_with_one_seed_each_differ_without_being_red():
    found = compared(one(0.3), one(0.8))
    assert [(r.red, r.spread) for r in found.moved] == [(False, None)]
    assert "one seed" in found.moved[0].reason


# The command --------------------------------------------------------------------------


def test_the_exit_status_says_green_red_or_wrong(tmp_path, capsys):
    before = keep(tmp_path / "before", five())
    good = keep(tmp_path / "good", one(0.8))
    bad = keep(tmp_path / "bad", one(0.1))
    other = keep(tmp_path / "other", one(0.1, profile="full"))
    assert main(["compare", str(good), str(before)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("Green: none of 3")
    assert main(["compare", str(bad / "records.json"), str(before)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("RED  00_first (quick) 'accuracy': was 0.8, is 0.1 (")
    assert out[-1] == "Red: 1 moved, of 3 values compared."
    assert main(["compare", str(other), str(before)]) == 2
    assert "Nothing could be compared" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "nowhere"), str(before)]) == 2
    assert main(["compare", str(good), str(tmp_path / "nowhere")]) == 2


def test_names_cannot_steer_the_terminal(tmp_path, capsys):
    evil = "\x1b[2J\x07<b>\r\nGreen: all well\ud800" + "x" * 10_000
    claim = (evil, 0.1, False, evil)
    before = keep(tmp_path / "a", five(name=evil))
    now = row(seed=9, records=[(evil, 0.1, evil)], claims=[claim], backbone=None)
    failed = row("01_b", 9, status="failed", error=evil, platform=evil)
    assert main(["compare", str(keep(tmp_path / "b", [now, failed])), str(before)]) == 1
    out = capsys.readouterr().out
    assert all(sign.isprintable() or sign == "\n" for sign in out)
    assert not any(line.startswith("Green") for line in out.splitlines())
    assert max(map(len, out.splitlines())) < 1000


def test_a_terminal_that_knows_few_signs_gets_the_lines_as_well(tmp_path, monkeypatch):
    before, now = (
        keep(tmp_path / str(v), rows)
        for v, rows in (
            (0, five(name="full − lora")),
            (1, one(0.1, name="full − lora")),
        )
    )
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["compare", str(now), str(before)]) == 1
    terminal.flush()
    assert b"full ? lora': was 0.8, is 0.1" in terminal.buffer.getvalue()


def test_all_of_it_is_written_for_a_program(tmp_path):
    before = keep(tmp_path / "before", five())
    out = tmp_path / "found.json"
    now = keep(tmp_path / "now", one(0.1))
    assert main(["compare", str(now), str(before), "--json", str(out)]) == 1
    found = json.loads(out.read_text("utf-8"))
    assert (found["red"], found["moved"][0]["name"]) == (True, "accuracy")
    assert found["verdict"] == "Red: 1 moved, of 3 values compared."


def test_a_run_that_holds_a_seed_twice_is_refused(tmp_path):
    place = keep(tmp_path / "run", one(0.8) + one(0.8))
    with pytest.raises(CourseError, match="seed 9 2 times"):
        runs.read(place)
