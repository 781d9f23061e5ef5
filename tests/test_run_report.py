"""The report of a run: what it says first, what it leads to, and what it survives."""

import json
import math
import os
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import mistune
import pytest
from bs4 import BeautifulSoup

from course import drift, run_report, runs
from course.errors import CourseError
from course.run_report import charts, pull_request, reading, wording

EVIL = "<img src=x onerror=alert(1)>\"'&|`x`|*b*_i_@octocat #1 https://e.vil www.e.vil"
EVIL += (
    "\n[l](javascript:alert(1))<script>alert(1)</script>\x00\x1b[31m\u202e\ud800\ufffe"
)


def record(name="accuracy", value=0.9, unit=""):
    return {"name": name, "value": value, "unit": unit}


def claim(text="it pays", value=0.9, bound="at least 0.5", margin=0.4, holds=True):
    ends = {"low": value, "high": value, "n": 1}
    row = {"text": text, "value": value, "bound": bound, "holds": holds}
    return {**row, "margin": margin, **ends}


def row(chapter="03_fine_tuning", seed=0, backbone=None, profile="quick", **given):
    about = {"profile": profile, "seed": seed, "backbone": backbone, "python": "3.11.2"}
    about["packages"] = {"torch": "2.14.1"}
    return {
        "chapter": chapter,
        "status": "ok",
        "seconds": 61.2,
        "peak_mb": 1320.1,
        "records": [record()],
        "claims": [claim()],
        "environment": about,
        "error": "",
        "cell": None,
        "folder": ".",
        "reference": {"seconds": 1.0, "mb": 400.0},
        **given,
    }


FAILED = {
    "status": "failed",
    "error": "cell 12, In [9]: KeyError: 'lost'",
    "cell": 'ch03-"12"',
    "folder": "quick-seed1",
}


def moved(name="accuracy", **given):
    values = {
        "chapter": "03_fine_tuning",
        "profile": "quick",
        "backbone": None,
        "name": name,
        "unit": "",
        "kind": "record",
        "before": 0.8,
        "spread": 0.01,
        "now": 0.9,
        "low": 0.77,
        "high": 0.83,
        "standard_errors": 9.13,
        "p_adjusted": 0.00021,
        "red": True,
        "reason": "further away than chance takes it",
    }
    return drift.Moved(**(values | given))


def comparison(**given):
    return drift.Comparison(compared=40, same_seed=9, exact=8, **given)


@pytest.fixture
def put(tmp_path):
    """Write the rows of a run, with a page for each chapter, and return its folder."""

    def write(rows, name="now", age=0, pages=True):
        out = tmp_path / name
        out.mkdir()
        (out / "records.json").write_text(json.dumps(rows))
        made = 1_790_000_000 - age
        os.utime(out / "records.json", (made, made))
        for one in rows if pages else ():
            place = out / one["folder"] / f"{one['chapter']}.html"
            place.parent.mkdir(exist_ok=True)
            place.write_text("")
        return out

    return write


def soup(out, **given):
    text = run_report.write(out, **given).read_text("utf-8")
    return BeautifulSoup(text, "html.parser")


def section(page, heading):
    """Return the first table or list after a heading that begins so."""
    head = page.find(["h2", "h3"], string=lambda text: text.startswith(heading))
    return head.find_next(["table", "ul", "dl"])


def cells(table):
    return [
        [cell.get_text(" ", strip=True) for cell in line.find_all(["th", "td"])]
        for line in table.select("tbody tr")
    ]


# What is read first -------------------------------------------------------------------


def test_the_verdict_is_the_first_thing_and_what_failed_the_second(put):
    out = put([row(), row(seed=1, **FAILED)])
    found = comparison(moved=[moved()], failed=[object()])
    page = soup(out, comparison=found)
    first = page.select_one("main .verdict")
    assert first.get_text(strip=True) == f"✗{found.verdict}"
    assert "bad" in first["class"]
    assert [head.text for head in page.find_all("h2")][:2] == [
        "What failed",
        "What moved",
    ]
    (line,) = section(page, "What failed").find_all("li")
    assert line.code.text == FAILED["error"] and "seed 1" in line.text


def test_a_run_that_is_as_before_is_green(put):
    page = soup(put([row()]), comparison=comparison())
    verdict = page.select_one(".verdict")
    assert verdict["class"] == ["verdict", "good"] and "Green" in verdict.text
    assert "Nothing moved" in page.text
    assert page.find("h2").text == "What moved"  # nothing failed: no such heading


def test_without_a_baseline_the_verdict_is_of_chapters_and_claims(put):
    assert "Green: 2 chapters ran through, 2 of 2 claims hold; compared with no" in (
        soup(put([row(), row(seed=1)], "a")).select_one(".verdict").text
    )
    failed = soup(put([row(), row(seed=1, **FAILED)], "b")).select_one(".verdict")
    assert "Red: 1 of 2 chapters did not run through" in failed.text
    assert "bad" in failed["class"]


def test_where_no_number_has_a_baseline_nothing_is_said_to_be_as_before(put):
    found = drift.Comparison(notes=["03_fine_tuning (quick) has no baseline."])
    out = put([row()])
    page = soup(out, comparison=found)
    assert "1 of 1 claims hold; compared with no" in page.select_one(".verdict").text
    assert "Nothing could be compared" in page.text and "moved" not in page.dl.text
    assert found.notes[0] in section(page, "What could not").text
    assert "with no baseline" in run_report.markdown(out, comparison=found)


def test_what_moved_is_told_with_before_now_standard_errors_and_p(put):
    rows = [
        moved(),
        moved(
            "loss", standard_errors=-3.26, p_adjusted=0.0312, before=0.00042, now=1e-6
        ),
        moved("speed", spread=None, standard_errors=None, p_adjusted=None, red=False),
    ]
    page = soup(put([row()]), comparison=comparison(moved=rows))
    first, second, third = cells(section(page, "What moved"))
    assert first[:5] == [
        "✗ red accuracy 03 Fine-tuning · record",
        "0.800 ± 0.010",
        "0.900",
        "+9.1",
        "< 0.001",
    ]
    assert second[1:5] == ["0.00042 ± 0.010", "1e−06", "−3.3", "0.031"]
    assert third[0].startswith("○ note speed") and third[3:5] == ["–", "–"]
    assert first[-1] == "further away than chance takes it"


def test_of_many_that_moved_the_first_are_shown_and_the_rest_folded(put):
    rows = [moved(f"number {n}") for n in range(40)]
    page = soup(put([row()]), comparison=comparison(moved=rows))
    tables = page.select("table.moved")
    assert tables[0].find_parent("details") is None
    assert tables[1].find_parent("details").summary.text == "28 more"
    names = [line[0].split()[3] for table in tables for line in cells(table)]
    assert names == [str(n) for n in range(40)]


def test_what_is_gone_or_new_is_named(put):
    gone = [drift.Named("03_fine_tuning", "quick", None, "accuracy", "record")]
    new = [drift.Named("04_looking_inside", "quick", None, "", "record")]
    page = soup(put([row()]), comparison=comparison(gone=gone, new=new))
    assert section(page, "Gone").li.text == "03 Fine-tuning: accuracy (record)"
    assert section(page, "New").li.text == "04 Looking inside: the whole chapter"


# Chapters and runs --------------------------------------------------------------------


def test_a_cell_of_the_matrix_says_in_words_what_became_of_a_chapter(put):
    claims = [claim(), claim("so does it", holds=False, margin=-0.1)]
    page = soup(
        put(
            [
                row(),
                row(seed=1, claims=claims, peak_mb=None, seconds=None, **FAILED),
                row("04_looking_inside", seed=1, seconds=400.0),
            ]
        )
    )
    table = page.select_one("table.matrix")
    heads = [head.get_text(" ") for head in table.select("thead th")]
    assert heads == ["chapter", "quick seed 0", "quick seed 1"]
    assert cells(table) == [
        [
            "03 Fine-tuning",
            "✓ ok 61 s · 1,320 MB 1 of 1 claim",
            "✗ failed time unknown · memory unknown 1 of 2 claims",
        ],
        ["04 Looking inside", "– not run", "✓ ok 7 min · 1,320 MB 1 of 1 claim"],
    ]
    sums = [cell.get_text(" ") for cell in table.select("tfoot td")]
    assert sums == ["1 of 1 ok 61 s", "1 of 2 ok 7 min"]


def test_runs_stand_in_order_of_profile_backbone_and_seed(put):
    settings = [("full", None, 0), ("quick", "b", 0), ("quick", None, 10)]
    settings += [("quick", None, 9), ("smoke", None, 0)]
    rows = [row(profile=p, backbone=b, seed=s) for p, b, s in settings]
    heads = soup(put(rows)).select("table.matrix thead th")
    assert [head.get_text(" ") for head in heads[1:]] == [
        "smoke seed 0",
        "quick seed 9",
        "quick seed 10",
        "quick seed 0 b",
        "full seed 0",
    ]


def test_a_failed_chapter_leads_to_the_failing_cell_of_its_page(put):
    out = put([row(), row(seed=1, **FAILED)])
    page = soup(out)
    links = [link["href"] for link in page.select(".failures a, td.failed b a")]
    assert len(links) == 2 and len(set(links)) == 1
    place, _, anchor = links[0].partition("#")
    assert (out / unquote(place)).is_file()
    assert place == "./quick-seed1/03_fine_tuning.html"
    assert unquote(anchor) == 'cell-id=ch03-"12"'
    assert page.select_one("td.ok a")["href"] == "./03_fine_tuning.html"


def test_a_chapter_without_a_page_has_no_link(put):
    assert not soup(put([row(**FAILED)], pages=False)).find("a")


@pytest.mark.parametrize(
    "folder", ["//e.vil/x", "javascript:alert(1)", "https://e.vil"]
)
def test_no_folder_of_a_row_makes_an_address_elsewhere(put, folder):
    out = put([row(folder=folder)], pages=False)
    (out / folder.lstrip("/")).mkdir(parents=True)
    (out / folder.lstrip("/") / "03_fine_tuning.html").touch()
    for link in soup(out).find_all("a"):
        assert re.match(r"\./[^:]*$", link["href"])


# Claims -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "value", "margin", "share"),
    [
        ("at least 0.5", 0.6, 0.1, 0.1 / 0.6),
        ("at most 0.35", 0.1, 0.2, 0.2 / 0.35),
        ("at most 1e-05", 0.0, 1e-05, 1.0),
        ("at least 0", 0.2, 0.1, 0.5),
        ("at most -0.1", -0.3, 0.15, 0.5),
        ("between 0.95 and 1.05", 1.0, 0.04, 0.8),
        ("at least 0.5", None, None, None),
        ("as it should be", 0.5, 0.1, None),
        ("at least 0", 0.0, 0.0, None),
    ],
)
def test_a_margin_is_measured_by_how_far_the_bound_is(bound, value, margin, share):
    found = reading._claim(claim("x", value, bound, margin)).share
    assert found == (share if share is None else pytest.approx(share))


@pytest.mark.parametrize(
    ("bound", "margin"),
    [("at least 0.5", 0.1), ("at most 0.5", -0.2), ("between 0 and 1", 0.3)],
)
def test_an_older_run_that_kept_no_margin_gets_one_from_its_bound(bound, margin):
    old = {"text": "x", "value": 0.65, "bound": bound, "holds": True}
    assert reading._claim({**old, "low": 0.6, "high": 0.7}).margin == pytest.approx(
        margin
    )
    alone = {"at least 0.5": 0.15, "at most 0.5": -0.15, "between 0 and 1": 0.35}
    assert reading._claim(old).margin == pytest.approx(alone[bound])


def test_the_claims_with_the_least_room_come_first_each_in_its_worst_run(put):
    wide = claim("wide", 0.9, "at least 0.1", 0.8)
    near = [claim("near", 0.55 + n, "at least 0.5", 0.05 + n) for n in (0, 0.1)]
    lost = [
        claim("lost", 9, "at most 9.5", 0.5),
        claim("lost", 10, "at most 9.5", -0.5),
    ]
    lost[1]["holds"] = False
    rows = [row(seed=n, claims=[wide, near[n], lost[n]]) for n in (0, 1)]
    table = section(soup(put(rows)), "Claims")
    assert [line[1] for line in cells(table)] == [
        "lost 03 Fine-tuning · quick, seed 1",
        "near 03 Fine-tuning · quick, seed 0",
        "wide 03 Fine-tuning · quick, seed 0",
    ]
    assert [line[0] for line in cells(table)] == ["−5.0 %", "9.1 %", "89 %"]
    assert [line[4] for line in cells(table)] == ["✗ 1 of 2", "✓ 2 of 2", "✓ 2 of 2"]


def test_a_claim_that_a_smoke_run_passed_over_is_told_and_is_not_red(put):
    out = put([row(profile="smoke", claims=[claim(holds=False, margin=-0.1)])])
    page = soup(out)
    assert "does not hold" in section(page, "What failed").text
    assert page.select_one(".verdict")["class"] == ["verdict", "good"]
    assert cases(out)["claim: it pays"].find("skipped") is not None
    compared = cases(out, comparison=comparison(broken=[object()]))
    assert compared["claim: it pays"].find("failure") is not None


# Charts -------------------------------------------------------------------------------


def drawn(page, name):
    """Return the figure of a record, and where the dots of its chart are, by x."""
    (figure,) = [
        f for f in page.find_all("figure") if f.figcaption.text.startswith(name)
    ]
    path = figure.select_one("path.dots")["d"] if figure.svg else ""
    return figure, [tuple(map(float, p)) for p in re.findall(r"M(\S+) (\S+?)h0", path)]


def test_a_record_is_drawn_over_past_runs_from_the_oldest_to_this_one(put):
    values = {"b": 0.2, "c": 0.4, "a": 0.8}  # made one after the other, in this order
    past = [
        put([row(records=[record(value=value)])], name, age=90 - n)
        for n, (name, value) in enumerate(values.items())
    ]
    out = put([row(records=[record(value=0.6, unit="MB")])])
    page = soup(out, history=[past[2], out, past[0], past[1]])
    figure, dots = drawn(page, "accuracy")
    xs, ys = zip(*dots, strict=True)
    assert list(xs) == sorted(xs) and len(xs) == 4
    assert ys[0] > ys[1] > ys[3] > ys[2]  # downwards: the smallest lies lowest
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[3], abs=0.2)
    circle = figure.select_one("circle.now")
    assert (float(circle["cx"]), float(circle["cy"])) == dots[-1]
    said = figure.svg.title.text
    assert said == ("accuracy: 0.600 MB in this run; 0.200 to 0.800 in 3 earlier runs")
    assert figure.svg["role"] == "img"
    assert figure.find_parent("details").summary.text == "03 Fine-tuning: 1 number"


def test_a_run_that_did_not_measure_it_leaves_a_gap(put):
    values = [0.1, 0.3, None, 0.2]
    past = [
        put([row(records=[record(value=value)])], f"{n}", age=9 - n)
        for n, value in enumerate(values)
    ]
    past.append(put([row("04_looking_inside")], "other", age=1))
    figure, dots = drawn(soup(put([row()]), history=past), "accuracy")
    assert len(dots) == 4
    line = figure.select_one("path.past")["d"]
    assert re.sub(r"[^ML]", "", line) == "MLMM"


def test_the_seeds_of_a_run_are_one_point_with_a_line_from_least_to_most(put):
    rows = [
        row(seed=n, records=[record(value=v)]) for n, v in enumerate((0.1, 0.2, 0.6))
    ]
    past = put([row(records=[record(value=0.3)])], "past", age=9)
    figure, dots = drawn(soup(put(rows), history=[past]), "accuracy")
    assert len(dots) == 2 and dots[0][1] == dots[1][1]  # their mean is 0.3 too
    low, high = re.fullmatch(
        r"M\S+ (\S+?)V(\S+)", figure.select_one("path.seeds")["d"]
    ).groups()
    assert float(low) > dots[1][1] > float(high)
    assert "0.300" in figure.b.text


def measured(name="accuracy", values=(0.7, 0.8, 0.9), unit="", kind="record"):
    place = runs.Place("03_fine_tuning", "quick", "")
    kept = {runs.Key(kind, name, unit): dict(enumerate(values))}
    return {place: runs.Measured(place, {}, kept, {}, (0, 1, 2))}


def test_the_band_of_the_baseline_is_shaded_and_what_left_it_is_a_square(put):
    known = measured(values=(0.79, 0.8, 0.81))
    for value, kind, where in (
        (0.8, "circle.now", "inside"),
        (2, "rect.out", "outside"),
    ):
        out = put([row(records=[record(value=value)])], str(value))
        past = put([row(records=[record(value=2.8 - value)])], f"past {value}", age=9)
        page = soup(out, history=[past], baselines=known)
        figure, dots = drawn(page, "accuracy")
        assert figure.select_one(kind) and len(figure.select("circle, rect.out")) == 1
        assert f"{where} the baseline's band" in figure.svg.title.text
        shade = figure.select_one("rect.band")
        top = float(shade["y"])
        within = top <= dots[-1][1] <= top + float(shade["height"])
        assert within == (where == "inside")
        folded = figure.find_parent("details").summary.text
        assert ("1 outside the band" in folded) == (where == "outside")


def test_the_band_is_that_of_one_more_seed_and_times_have_none():
    known = charts.bands(None, measured() | {})
    band = known[charts.Key("03_fine_tuning", "quick", None, "accuracy")]
    expected = drift.summarise(runs.Key("record", "accuracy"), [0.7, 0.8, 0.9])
    assert (band.low, band.high) == (expected.low, expected.high)
    assert not charts.bands(None, measured(unit=runs.RATIO, kind="time"))
    assert not charts.bands(None, measured(values=(0.7,)))
    ratio = moved("speed", unit=runs.RATIO, kind="time")
    own = charts.bands(comparison(moved=[moved(), ratio]), {})
    assert list(own.values()) == [charts.Band(0.77, 0.83)]


def test_a_record_with_nothing_to_compare_it_with_is_not_drawn(put):
    figure, _ = drawn(soup(put([row()])), "accuracy")
    assert figure.svg is None and "0.900" in figure.text


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0, 1e12, -1e-300])
def test_values_that_are_all_the_same_are_drawn_in_the_middle(put, value):
    past = put([row(records=[record(value=value)])], "past", age=9)
    out = put([row(records=[record(value=value)])])
    _, dots = drawn(soup(out, history=[past]), "accuracy")
    assert [y for _, y in dots] == [charts.HEIGHT / 2] * 2


def test_another_size_or_backbone_is_another_record(put):
    past = put([row(profile="smoke", records=[record(value=0.1)])], "past", age=9)
    out = put([row(), row(backbone="resnet10-glyphs", records=[record(value=0.5)])])
    figures = soup(out, history=[past]).find_all("figure")
    assert [figure.text for figure in figures] == [
        "accuracy quick 0.900",
        "accuracy quick, resnet10-glyphs 0.500",
    ]


def test_names_that_come_again_are_told_apart_as_in_a_comparison(put):
    rows = [row(records=[record(value=0.1), record(value=0.2)])]
    out = put(rows)
    names = [f.figcaption.text for f in soup(out).find_all("figure")]
    assert names == ["accuracy 0.100", "accuracy (2) 0.200"]
    (place,) = runs.gather(runs.read(out))
    assert {"accuracy", "accuracy (2)"} <= {key.name for key in place.values}


# Where it ran, and what was left out --------------------------------------------------


def test_what_the_machine_has_otherwise_than_the_baselines_is_a_table(put):
    changed = [drift.Changed("torch", "2.14", "2.15")]
    notes = ["04_looking_inside (quick) has no baseline."]
    page = soup(put([row()]), comparison=comparison(changed=changed, notes=notes))
    assert cells(section(page, "Where it ran")) == [["torch", "2.14", "2.15"]]
    assert section(page, "What could not").li.text == notes[0]


def test_a_run_may_be_named_by_its_records(put):
    past = put([row(records=[record(value=0.1)])], "past", age=9)
    out = put([row()])
    history = [past / "records.json", out / "records.json"]
    page = soup(out / "records.json", history=history)
    assert (out / "report.html").is_file()
    assert len(drawn(page, "accuracy")[1]) == 2 and "not be compared" not in page.text


def test_everything_is_written_beside_the_records_with_the_runs_beside_them(put):
    put([row(records=[record(value=0.1)])], "past", age=9)
    out = put([row()])
    (out.parent / "tables").mkdir()  # no run
    place = run_report.everything(out, comparison(moved=[moved()]))
    page = BeautifulSoup(place.read_text("utf-8"), "html.parser")
    assert len(drawn(page, "accuracy")[1]) == 2 and "not be compared" not in page.text
    assert "accuracy" in (out / "summary.md").read_text("utf-8")
    assert "record: accuracy" in (out / "junit.xml").read_text("utf-8")
    left = {path.name for path in out.iterdir() if path.is_file()}
    assert left == {"records.json", "report.html", "summary.md", "junit.xml"} | {
        "03_fine_tuning.html"
    }


def test_an_earlier_run_that_cannot_be_read_is_left_out_by_name(put, tmp_path):
    (tmp_path / "empty").mkdir()
    broken = put([], "broken")
    (broken / "records.json").write_text('[{"chapter":')
    page = soup(put([row()]), history=[tmp_path / "empty", broken])
    lines = [item.text for item in section(page, "What could not").find_all("li")]
    assert len(lines) == 2
    assert "broken" in lines[0] and "empty" in lines[1]


# What it survives ---------------------------------------------------------------------


def hostile(**given):
    about = {"profile": EVIL, "seed": 0, "backbone": EVIL, EVIL: EVIL}
    about["packages"] = {EVIL: EVIL}
    names = {"chapter": EVIL, "folder": EVIL, "cell": EVIL, "error": EVIL}
    claims = [claim(EVIL, bound=EVIL, margin=None, holds=False), claim(EVIL)]
    records = [record(EVIL, unit=EVIL), record(EVIL)]
    found = {**names, "claims": claims, "records": records, "environment": about}
    return {**row(), "status": "failed", **found, **given}


def all_hostile():
    name = runs.printable(EVIL)  # as it was read
    where = {"chapter": name, "profile": name, "backbone": name}
    return comparison(
        moved=[moved(name, **where, unit=EVIL, kind="record", reason=EVIL)],
        gone=[drift.Named(EVIL, EVIL, EVIL, EVIL, EVIL)],
        new=[drift.Named(EVIL, EVIL, EVIL, "", EVIL)],
        changed=[drift.Changed(EVIL, EVIL, EVIL)],
        notes=[EVIL],
    )


def test_hostile_names_stay_text(put):
    out = put([hostile(), hostile(status="ok")], pages=False)
    page = soup(out, comparison=all_hostile())
    tags = {tag.name for tag in page.find_all(True)}
    assert {"header", "table", "svg", "rect", "figure", "details"} <= tags
    assert not tags & {"script", "img", "iframe", "object", "link", "base", "form"}
    every = [name for tag in page.find_all(True) for name in tag.attrs]
    assert not [name for name in every if name.startswith("on") or name == "src"]
    assert page.text.count("<script>alert(1)</script>") >= 12
    assert not wording.UNSEEN.search(page.text)


def test_the_page_fetches_nothing(put):
    text = run_report.write(put([row()])).read_text("utf-8")
    assert not re.findall(r"src=|url\(|@import|https?:|<script", text)
    assert "default-src 'none'" in text


def test_a_hostile_cell_is_quoted_in_its_address(put):
    out = put([row(cell=EVIL, status="failed")])
    link = soup(out).select_one("td.failed a")["href"]
    assert re.fullmatch(r"\./03_fine_tuning\.html#cell-id=[\w%.~-]+", link)
    assert "<script>" in unquote(link)


OLD = {
    "chapter": "09_meaning_of_text",
    "status": "failed",
    "seconds": 64.5,
    "peak_mb": None,
    "records": [{"name": "analogies asked", "value": 20.0, "unit": ""}],
    "claims": [{"text": "x", "value": None, "bound": "at least 0.7", "holds": False}],
    "environment": {"profile": "quick", "seed": 0, "cores": 2, "packages": {}},
    "error": "cell 3, In [2]: ValueError: no",
}
NONE = dict.fromkeys(OLD) | {"environment": {"profile": None, "seed": None}}
ODD = {
    "chapter": 7,
    "seconds": "long",
    "peak_mb": True,
    "records": [1, {"name": None}, {"value": 10**17}],
    "claims": {"a": 1},
    "environment": [],
    "cell": 3,
}


@pytest.mark.parametrize("rows", [[OLD], [NONE], [ODD, {}], [OLD, NONE, ODD]])
def test_rows_of_older_or_odd_runs_are_shown_as_far_as_they_go(put, rows):
    out = put(rows, pages=False)
    page = soup(out, history=[put([row()], "past", age=3)])
    assert len(page.select("table.matrix tbody td:not(.none)")) == len(rows)
    assert "None" not in page.text and "nan" not in page.text
    run_report.summary(out)
    run_report.junit(out)


def test_a_run_of_no_chapter_is_red_and_says_so(put):
    out = put([])
    page = soup(out, comparison=comparison())
    assert page.select_one(".verdict.bad").text.endswith(
        "records.json holds no chapter."
    )
    assert run_report.summary(out).read_text("utf-8").startswith("### ❌ Red")
    assert ElementTree.parse(run_report.junit(out)).getroot().get("tests") == "0"


@pytest.mark.parametrize("content", [None, "[{", '{"a": 1}', "[1]", '"x"', "\xff"])
def test_a_folder_without_records_is_one_sentence_and_nothing_is_written(
    tmp_path, content
):
    if content is not None:
        (tmp_path / "records.json").write_bytes(content.encode("latin-1"))
    for make in (run_report.write, run_report.summary, run_report.junit):
        with pytest.raises(CourseError) as caught:
            make(tmp_path)
        assert str(caught.value).count("\n") == 0 and "records" in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"records.json"}


def test_a_page_of_four_hundred_records_over_twelve_runs_stays_small(put):
    def many(value):
        records = [
            record(f"a record with a name of words {n}", value + n, "MB")
            for n in range(31)
        ]
        claims = [
            claim(f"a lesson of a dozen words or so, number {n}") for n in range(12)
        ]
        return [
            row(
                f"{n:02}_chapter",
                seed=s,
                records=records,
                claims=claims,
                folder=f"s{s}",
            )
            for n in range(13)
            for s in range(10)
        ]

    past = [put(many(n / 7), f"{n}", age=99 - n, pages=False) for n in range(12)]
    out = put(many(1.0), pages=False)
    rows = [moved(f"number {n}") for n in range(100)]
    found = comparison(moved=rows)
    place = run_report.write(out, history=past, comparison=found)
    assert place.stat().st_size < 2_000_000
    text = place.read_text("utf-8")
    assert text.count("<figure") == text.count("<figure><svg") == 403
    (first, *_) = re.findall('class="dots" d="([^"]+)"', text)
    assert first.count("M") == 13


# The summary --------------------------------------------------------------------------


def rendered(out, **given):
    text = run_report.summary(out, **given).read_text("utf-8")
    markup = mistune.create_markdown(escape=False, plugins=["table"])(text)
    return text, BeautifulSoup(markup, "html.parser")


def test_the_summary_has_verdict_failures_and_what_moved(put):
    out = put([row(), row(seed=1, **FAILED)])
    gone = [drift.Named("03_fine_tuning", "quick", None, "accuracy", "record")]
    found = comparison(moved=[moved()], failed=[object()], gone=gone)
    _, page = rendered(out, comparison=found)
    assert page.h3.text == f"❌ {found.verdict}"
    items = [item.text for item in page.find_all("li")]
    assert items[0] == (
        "03 Fine-tuning (quick, seed 1): cell 12, In [9]: KeyError: 'lost', cell "
        'ch03-"12"'
    )
    assert items[1] == "03 Fine-tuning: accuracy (record)"
    assert [cell.text for cell in page.select("tbody td")] == [
        "❌",
        "accuracy",
        "03 Fine-tuning",
        "0.800 ± 0.010",
        "0.900",
        "+9.1",
        "< 0.001",
    ]


def test_the_summary_shows_twenty_and_counts_the_rest(put):
    rows = [moved(f"number {n}") for n in range(33)]
    new = [
        drift.Named("03_fine_tuning", "quick", None, f"n{n}", "record")
        for n in range(21)
    ]
    text, page = rendered(put([row()]), comparison=comparison(moved=rows, new=new))
    assert len(page.select("tbody tr")) == 20 and "… and 13 more" in text
    assert len(page.find_all("li")) == 21 and "… and 1 more" in text


def test_hostile_names_stay_text_in_the_summary(put):
    out = put([hostile()], pages=False)
    text, page = rendered(out, comparison=all_hostile())
    assert len(text) < 20_000 and not wording.UNSEEN.search(text)
    allowed = {"h3", "strong", "p", "ul", "li", "code", "table", "tr", "th", "td"}
    allowed |= {"thead", "tbody"}
    assert {tag.name for tag in page.find_all(True)} <= allowed
    row_of = [cell.text.replace("\u200b", "") for cell in page.select("tbody td")]
    assert len(row_of) == 7
    shown = " ".join(runs.printable(EVIL).split())
    assert row_of[1].startswith(shown[:80])
    assert "<script>alert(1)</script>" in row_of[1]
    (message,) = [code.text for code in page.select("li code")][:1]
    assert message.startswith(shown[:60])
    outside = re.sub(r"(`+) ?.*? ?\1(?!`)", "", text)
    # GitHub would call people, and link what looks like an address or an issue.
    assert not re.findall(r"@\w|https?://|www\.|#\d", outside)


@pytest.mark.parametrize("words", ["a|b", "`a`` b`", "`", "\\|", "a\\", "x\n\n# y", ""])
def test_code_and_plain_words_come_out_of_markdown_as_they_went_in(words):
    markdown = mistune.create_markdown(escape=False, plugins=["table"])
    head = "| a | b |\n|---|---|\n"
    line = " ".join(words.split())
    table = markdown(f"{head}| {pull_request.plain(words)} | z |\n")
    page = BeautifulSoup(table, "html.parser")
    assert [cell.text for cell in page.select("tbody td")] == [line, "z"]
    if line:
        listed = markdown(f"- {pull_request.code(words)}\n")
        assert BeautifulSoup(listed, "html.parser").select_one("li code").text == line


# JUnit --------------------------------------------------------------------------------

# The common schema, as CI servers read it: attributes of each element, the first of
# which are required; and what may stand in it, in this order.
COUNTS = ["name", "tests", "failures", "errors", "skipped", "time"]
SCHEMA = {
    "testsuites": (COUNTS, 0, ["testsuite"]),
    "testsuite": (
        [*COUNTS, "timestamp"],
        1,
        ["testcase"],
    ),
    "testcase": (["name", "classname", "time"], 2, ["skipped", "failure"]),
    "failure": (["message", "type"], 0, []),
    "skipped": (["message"], 0, []),
}


def validated(element):
    known, required, children = SCHEMA[element.tag]
    assert set(known[:required]) <= set(element.attrib) <= set(known)
    for name in {"tests", "failures", "errors", "skipped"} & set(element.attrib):
        assert re.fullmatch(r"\d+", element.get(name))
    if "time" in element.attrib:
        assert math.isfinite(float(element.get("time")))
    if "timestamp" in element.attrib:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", element.get("timestamp"))
    for child in element:
        assert child.tag in children
        validated(child)


def suites(out, **given):
    top = ElementTree.parse(run_report.junit(out, **given)).getroot()
    validated(top)
    for suite in [top, *top]:
        below = list(suite.iter("testcase"))
        assert int(suite.get("tests")) == len(below)
        bad = [case for case in below if case.find("failure") is not None]
        assert int(suite.get("failures")) == len(bad)
        passed = [case for case in below if case.find("skipped") is not None]
        assert int(suite.get("skipped")) == len(passed)
    return list(top)


def cases(out, **given):
    return {case.get("name"): case for suite in suites(out, **given) for case in suite}


def test_a_run_is_a_suite_with_a_test_for_each_chapter_and_claim(put):
    lost = claim("it is so", 0.1, "at least 0.5", -0.4, False)
    rows = [row(), row(seed=1, claims=[claim(), lost], **FAILED)]
    first, second = suites(put([*rows, row("04_looking_inside")]))
    assert [suite.get("name") for suite in (first, second)] == [
        "quick, seed 0",
        "quick, seed 1",
    ]
    names = [(case.get("classname"), case.get("name")) for case in second]
    assert names == [
        ("03_fine_tuning", "runs through"),
        ("03_fine_tuning", "claim: it pays"),
        ("03_fine_tuning", "claim: it is so"),
        ("04_looking_inside", "runs through"),
    ]
    chapter, held, broken, absent = second
    assert chapter.find("failure").get("message") == FAILED["error"]
    assert 'cell ch03-"12"' in chapter.find("failure").text
    assert chapter.get("time") == "61.2" and len(held) == 0
    assert broken.find("failure").get("message") == "0.100, but expected at least 0.5"
    assert absent.find("skipped").get("message") == "not run in this run"
    assert float(first.get("time")) == pytest.approx(122.4)


def test_what_moved_and_what_is_gone_are_tests_of_their_own(put):
    gone = [drift.Named("03_fine_tuning", "quick", None, "accuracy", "record")]
    rows = [moved(), moved("speed", kind="time", red=False)]
    found = cases(put([row()]), comparison=comparison(moved=rows, gone=gone))
    said = found["record: accuracy"].find("failure").get("message")
    assert "is in the baseline and not in this run" in said
    assert found["time: speed"].find("failure") is None
    (suite,) = suites(put([row()], "b"), comparison=comparison(moved=rows))[1:]
    said = suite[0].find("failure").get("message")
    assert said.startswith("0.800 ± 0.010 before, 0.900 now (quick): further away")


def test_what_xml_forbids_is_replaced(put):
    out = put([hostile()], pages=False)
    chapters, compared = suites(out, comparison=all_hostile())
    message = chapters[0].find("failure").get("message")
    assert message.startswith("<img src=x") and "<script>" in message
    message = compared[0].find("failure").get("message")
    assert "<script>" in message and message.endswith("��[31m���")
