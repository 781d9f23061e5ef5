"""Evidence: intervals that are right, claims that can fail, and reading both back."""

import math

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course import evidence
from course.errors import CourseError


@pytest.fixture
def shown(monkeypatch):
    """Collect what would be displayed, and start a fresh chapter."""
    bundles = []
    monkeypatch.setattr(evidence, "_show", bundles.append)
    evidence.begin("quick")
    return bundles


def test_an_interval_is_students():
    span = evidence.interval([0.90, 0.92, 0.94])
    assert span.mean == pytest.approx(0.92) and span.n == 3
    assert span.high - span.mean == pytest.approx(2.919986 * 0.02 / math.sqrt(3), 1e-5)
    assert evidence.interval(0.5) == (0.5, 0.5, 0.5, 1)
    with pytest.raises(CourseError, match="no values"):
        evidence.interval([])


def test_a_record_is_shown_and_stored(shown):
    evidence.record("time", 2.0, "s")
    evidence.record("accuracy", [0.9, 0.92, 0.94])
    first, second = (bundle[evidence.RECORD_MIME] for bundle in shown)
    assert (first["name"], first["value"], first["unit"], first["n"]) == (
        "time",
        2.0,
        "s",
        1,
    )
    assert second["value"] == pytest.approx(0.92) and second["low"] < 0.9
    assert shown[0]["text/plain"] == "time = 2 s"
    assert "0.920 [0.886, 0.954]" in shown[1]["text/plain"]


@pytest.mark.parametrize(
    ("values", "bound", "holds"),
    [
        (0.95, {"at_least": 0.9}, True),
        (0.85, {"at_least": 0.9}, False),
        ([0.95, 0.95, 0.96], {"at_least": 0.9}, True),
        ([0.80, 0.95, 1.00], {"at_least": 0.9}, False),  # the mean would pass
        ([0.10, 0.20, 0.30], {"at_most": 0.25}, False),  # the mean would pass
        ([0.10, 0.11, 0.12], {"at_most": 0.25}, True),
        ([0.10, 0.11, 0.12], {"between": (0.05, 0.2)}, True),
        ([0.10, 0.11, 0.12], {"between": (0.12, 0.2)}, False),
        (math.nan, {"at_least": 0.0}, False),
        (math.nan, {"at_most": 1.0}, False),
        (math.nan, {"between": (0.0, 1.0)}, False),
        ([0.9, math.nan, 0.9], {"at_least": 0.1}, False),
    ],
)
def test_a_claim_holds_or_raises(shown, values, bound, holds):
    if holds:
        evidence.claim("a lesson", values, **bound)
    else:
        with pytest.raises(evidence.ClaimError, match="a lesson"):
            evidence.claim("a lesson", values, **bound)
    row = shown[0][evidence.CLAIM_MIME]
    assert row["holds"] is holds
    assert ("✓ holds" in shown[0]["text/plain"]) is holds


def test_smoke_shows_a_failing_claim_and_goes_on(shown):
    evidence.begin("smoke")
    evidence.claim("a lesson", 0.1, at_least=0.9)
    assert shown[0][evidence.CLAIM_MIME]["holds"] is False


@pytest.mark.parametrize("bounds", [{}, {"at_least": 0.1, "at_most": 0.9}])
def test_a_claim_has_exactly_one_bound(shown, bounds):
    with pytest.raises(CourseError, match="exactly one"):
        evidence.claim("a lesson", 0.5, **bounds)


def test_what_is_shown_is_escaped(shown):
    evidence.record("<script>x</script>", 1.0, "<b>")
    evidence.claim("<script>", 1.0, at_least=0.0)
    evidence.table([{"<i>": "<script>"}], caption="<script>")
    assert all("<script>" not in bundle["text/html"] for bundle in shown)


def test_a_sentence_takes_its_figures_from_results(shown):
    evidence.sentence("{a:.2f} of {b}, {c}", a=0.123, b=[0.5, 0.5], c="words")
    assert shown[0]["text/markdown"] == "0.12 of 0.500 [0.500, 0.500], words"


def test_the_summary_lists_what_was_recorded_since_the_beginning(shown):
    evidence.record("earlier", 1.0)
    evidence.begin("quick")
    evidence.record("new", 2.0)
    evidence.claim("lesson", 2.0, at_least=1.0)
    evidence.summary()
    text = shown[-1]["text/plain"]
    assert "new" in text and "at least 1: holds" in text
    assert "earlier" not in text


def test_records_and_claims_are_read_back_from_a_notebook(shown, tmp_path):
    evidence.record("accuracy", [0.9, 0.91])
    evidence.record("lost", math.nan)
    evidence.claim("lesson", 0.9, at_least=0.5)
    outputs = [new_output("display_data", data=bundle) for bundle in shown]
    notebook = new_notebook(cells=[new_code_cell("x", outputs=outputs)])
    nbformat.write(notebook, tmp_path / "n.ipynb")
    records, claims = evidence.read(nbformat.read(tmp_path / "n.ipynb", as_version=4))
    assert [row["name"] for row in records] == ["accuracy", "lost"]
    assert records[1]["value"] is None
    assert claims[0]["text"] == "lesson" and claims[0]["holds"] is True


def test_a_profile_picks_its_size_and_is_checked():
    profile = evidence.begin("smoke", seed=3)
    assert profile.pick(smoke=1, quick=2, full=3) == 1 and profile.seed == 3
    with pytest.raises(CourseError, match="Did you mean 'quick'"):
        evidence.begin("quik")
    with pytest.raises(CourseError, match="whole number"):
        evidence.begin("quick", seed=-1)


def brightness(colour):
    """The relative luminance of a hexadecimal colour, as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("bound", "ground"), [(0.5, "HOLDS"), (2.0, "FAILS")])
def test_a_claims_mark_can_be_read_on_light_and_dark_pages(shown, bound, ground):
    evidence.begin("smoke")
    evidence.claim("is read", 1.0, at_least=bound)
    colour = getattr(evidence, ground)
    assert f"color:#ffffff;background-color:{colour}" in shown[-1]["text/html"]
    assert (1 + 0.05) / (brightness(colour) + 0.05) >= 4.5
