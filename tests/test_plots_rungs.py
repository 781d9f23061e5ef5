"""The ladder of a training step and the lanes of a profile, as pictures."""

import importlib

import matplotlib
import pytest

from course import ladder, plots
from course.errors import CourseError

NAMES = [rung.name for rung in ladder.RUNGS] + ["a name of 20 letters"]
MODULES = {
    name: importlib.import_module(f"course.plots.{name}")  # the function hides it
    for name in ("rungs", "timeline")
}


def rows(count, accuracies=(0.9, 0.94), **changes):
    """The first rungs of a ladder, each twice as fast as the one before."""
    return [
        {
            "rung": name,
            "batch": 32,
            "images_a_second": 300.0 * 2**place,
            "faster": 2.0**place,
            "floor": 1200.0 * 2**place,
            "peak_mb": 120.0 / (place + 1),
            "first_seconds": 0.05 * 3**place,
            "seed": seed,
            "accuracy": accuracy,
            **changes,
        }
        for place, name in enumerate(NAMES[:count])
        for seed, accuracy in enumerate(accuracies)
    ]


def named(name, **changes):
    """One rung of another name."""
    return [{**row, "rung": str(name)} for row in rows(1, **changes)]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were made, still there after they were finished."""
    kept = []
    for module in MODULES.values():

        def finish(figure, alt, original=module.finish, **options):
            done = original(figure, alt, **options)
            kept.append(figure)
            return done

        monkeypatch.setattr(module, "finish", finish)
    return kept


def collisions(figure):
    """Texts that cover one another, or leave the picture."""
    texts = [t for t in figure.findobj(matplotlib.text.Text) if t.get_text().strip()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    width = figure.bbox.x1
    lost = [text for text, box in boxes if box.x0 < -1 or box.x1 > width + 1]
    for place, (text, box) in enumerate(boxes):
        for other, there in boxes[place + 1 :]:
            shared = matplotlib.transforms.Bbox.intersection(box, there)
            if shared is not None and min(shared.width, shared.height) > 2:
                lost.append((text, other))
    return lost


@pytest.mark.parametrize("count", [1, 2, 4, 11])
@pytest.mark.parametrize("changes", [{}, {"peak_mb": float("nan"), "floor": 9e5}])
def test_no_word_of_a_ladder_covers_another(drawn, count, changes):
    figure = plots.rungs(rows(count, **changes), title="A machine")
    assert figure.size[0] == 700 and len(figure.png) < 40_000
    assert not collisions(drawn[0])


def test_the_words_hold_what_every_rung_costs_and_brings():
    alt = plots.rungs(rows(2), title="A machine.").alt
    assert alt.startswith("A machine. A ladder of 2 rungs. fp32: 300 images a second")
    assert (
        "TF32: 600 images a second, 2 times the first, 25 % of the best (2,400); peak "
        "60 MB; first step 0.15 seconds; accuracy 0.92 (0.9 to 0.94)."
    ) in alt


def test_all_rungs_but_the_last_are_lighter(drawn):
    plots.rungs(rows(3))
    tones = [bar.get_facecolor() for bar in drawn[0].axes[0].patches]
    assert tones[0] == tones[1] and sum(tones[2][:3]) < sum(tones[0][:3])
    labels = drawn[0].axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == NAMES[:3]
    assert drawn[0].axes[0].yaxis_inverted()


def marks_at_best(figure):
    """Name to place of the marks of what is possible at best."""
    lines = {line.get_label(): line.get_xdata() for line in figure.axes[0].lines}
    return {name: list(xs) for name, xs in lines.items() if "best" in name}


def test_a_floor_far_away_is_an_arrow_and_the_bars_stay_long(drawn):
    plots.rungs(rows(1))
    plots.rungs(rows(1, floor=1e6))
    plots.rungs(rows(1, floor=750.0))
    near, far, within = drawn[0], drawn[1], drawn[2]
    assert list(marks_at_best(within)) == ["at best"]
    assert marks_at_best(within)["at best"] == [750.0]
    assert list(marks_at_best(far)) == ["best is beyond"]
    for figure in (near, far):
        assert figure.axes[0].get_xlim()[1] <= 4 * 300.0


def test_what_was_not_measured_is_a_dash_and_said():
    lost = dict.fromkeys(("peak_mb", "floor", "first_seconds"), float("nan"))
    alt = plots.rungs(rows(2, accuracies=[float("nan")], **lost)).alt
    assert "its best unknown; memory not measured; first step not a number" in alt
    nothing = rows(1, images_a_second=float("nan"))
    assert "– images a second" in plots.rungs(nothing).alt


def test_every_floor_is_marked_once_wherever_it_lies(drawn):
    plots.rungs([row for f in range(1, 40) for row in named(f, floor=100.0 * f)])
    marks = zip(*marks_at_best(drawn[0]).values(), strict=True)
    assert all(sum(x == x for x in pair) == 1 for pair in marks)


def test_a_first_step_of_no_time_is_drawn_at_the_edge():
    assert "first step 0 seconds" in plots.rungs(rows(1, first_seconds=0.0)).alt


def test_a_table_that_was_read_from_a_file_is_drawn_as_well():
    text = [{key: str(value) for key, value in row.items()} for row in rows(3)]
    assert plots.rungs(text) == plots.rungs(rows(3))


def test_a_ladder_without_rungs_or_columns_is_refused():
    with pytest.raises(CourseError, match="no rungs to draw: expected one row"):
        plots.rungs([])
    with pytest.raises(CourseError, match="no 'floor'; expected the columns rung"):
        plots.rungs([{k: v for k, v in rows(1)[0].items() if k != "floor"}])


# The lanes of a profile ---------------------------------------------------------------


def event(name, start, length, thread="main"):
    return {"name": name, "thread": thread, "start": start, "length": length}


def nested(depth, start=0.0, length=1000.0):
    """Calls within calls, each a little shorter than the one around it."""
    return [event(f"level{n}", start + n, length - 2 * n) for n in range(depth)]


def lanes(figure):
    """The bars that were drawn: row to the ms where they begin and end."""
    found = {}
    for collection in figure.axes[0].collections:
        for path in collection.get_paths():
            box = path.get_extents()
            row = round((box.y0 + box.y1) / 2, 2)
            found.setdefault(row, []).append((round(box.x0, 3), round(box.x1, 3)))
    return {row: sorted(found[row]) for row in sorted(found, reverse=True)}


def test_calls_stand_below_what_runs_around_them(drawn):
    step = [event("forward", 5000, 300), event("conv", 5100, 200)]
    plots.timeline([*step, event("backward", 5300, 700)])
    assert lanes(drawn[0]) == {0.0: [(0.0, 0.3), (0.3, 1.0)], -1.0: [(0.1, 0.3)]}


def test_the_order_of_the_events_changes_nothing():
    events = nested(3) + nested(2, start=2000.0)
    one, two = plots.timeline(events), plots.timeline(events[::-1])
    assert one == two and "level0 twice" not in one.alt
    assert "Outermost: level0 2 times, 2 ms." in one.alt


def test_every_thread_has_a_lane_of_its_own(drawn):
    plots.timeline([*nested(2), event("load", 0, 500, thread="loader")])
    assert list(lanes(drawn[0])) == [0.0, -1.0, -2.5]
    names = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert names == ["main", "loader"]


@pytest.mark.parametrize(
    ("depth", "said"),
    [(4, "Longest"), (5, " 1 deeper event is not"), (7, " 3 deeper events are not")],
)
def test_four_depths_are_drawn_and_the_rest_is_counted(drawn, depth, said):
    alt = plots.timeline(nested(depth)).alt
    assert said in alt and ("deeper" in alt) == (depth > 4)
    assert len(lanes(drawn[0])) == 4


def test_the_words_hold_the_span_the_outermost_and_the_longest_within():
    events = [
        event("forward", 0, 4000),
        event("conv", 0, 3000),
        event("deep", 0, 3000),
        event("relu", 3200, 500),
        event("backward", 4000, 6000),
        event("grad", 4500, 1500),
    ]
    alt = plots.timeline(events, title="One step", longest=2).alt
    assert alt == (
        "One step. Timeline of 6 events in 10 ms, 1 thread: main. Outermost: backward "
        "once, 6 ms; forward once, 4 ms. Longest within them: conv 3 ms, in forward, "
        "at 0 ms; grad 1.5 ms, in backward, at 4.5 ms."
    )


def test_thousands_of_specks_are_a_small_picture_of_a_busy_thread(drawn):
    events = [event("load", 0, 1), event("end", 2_000_000, 200_000)]
    busy = [event("kernel", 1000 * n, 900, "stream") for n in range(2000)]
    sparse = [event("rare", 1000 * n, 50, "idle") for n in range(2000)]
    figure = plots.timeline([*events, *busy, *sparse])
    assert len(figure.png) < 40_000
    found = lanes(drawn[0])
    assert 0.8 * 2000 < sum(end - start for start, end in found[-1.5]) <= 2010
    assert -3.0 not in found and len(found[-1.5]) < 800


def test_outermost_names_are_told_by_colour_and_hatch(drawn):
    plots.timeline([event(f"phase {n}", 10 * n, 10 - n / 10) for n in range(10)])
    patches = drawn[0].legends[0].get_patches()
    looks = [(patch.get_facecolor(), patch.get_hatch()) for patch in patches]
    assert len(set(looks)) == len({hatch for _, hatch in looks[:8]}) + 1 == 9
    names = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert names == [*[f"phase {n}" for n in range(8)], "other"]


ROOM = {"convolution": 130, "end": 200, "forward": 900}  # microseconds


def test_a_name_is_written_where_there_is_room_for_it(drawn):
    plots.timeline(
        [
            event("forward", 0, 900),
            event("aten::convolution", 0, 130),
            event("aten::relu", 200, 10),
            event("backward", 900, 20),
            event("a:" * 70 + "b::end", 300, 200),
        ]
    )
    texts = drawn[0].axes[0].texts
    assert sorted(t.get_text() for t in texts) == ["convolution", "end", "forward"]
    for text in texts:
        assert text.get_window_extent().width < ROOM[text.get_text()] / 920 * 700


def test_what_a_profiler_saw_can_be_drawn():
    import torch
    from torch.profiler import record_function

    def step():
        with record_function("forward"):
            loss = (torch.ones(64, 64, requires_grad=True) @ torch.ones(64, 64)).sum()
        with record_function("backward"):
            loss.backward()

    seen = [e for e in ladder.traced(step) if e.get("ph") == "X" and "dur" in e]
    alt = plots.timeline(
        [event(e["name"], e["ts"], e["dur"], e["tid"]) for e in seen]
    ).alt
    assert "forward once" in alt and "in forward, at" in alt


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "expected one event or more"),
        ([{"name": "a", "thread": 1, "start": 0}], "no 'length'; expected each with"),
        ([event("a", 0, -1)], "'a' starts at 0 and takes -1 microseconds"),
        ([event("a", float("nan"), 1)], "starts at nan"),
    ],
)
def test_events_that_cannot_be_drawn_are_refused(events, message):
    with pytest.raises(CourseError, match=message):
        plots.timeline(events)


def test_an_event_without_length_is_no_reason_to_stop():
    assert "1 event in 0 ms" in plots.timeline([event("a", 3, 0)]).alt
