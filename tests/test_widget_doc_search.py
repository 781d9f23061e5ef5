"""The search of docstrings: what was used last is shown, and every result is said."""

import asyncio
import re

import pytest

from course import widgets
from course.errors import CourseError
from course.search import Answer
from course.widgets import doc_search

EXAMPLES = ["copy a folder", "sort a list"]
GROUPS = {
    "path, file": [Answer("os.stat", "Perform a stat.", 0.9)],
    "<b>": [Answer("x", "", 0.1)],
}


def search(prefix):
    """Return a search that answers with the words that were asked."""

    def found(query):
        if query == "zz":
            raise CourseError(f"{prefix!r} knows no word of 'zz'.")
        if query == "boom":
            raise RuntimeError("out of order")
        return [
            Answer(f"{prefix}.{query}", f"About <{query}> & more.", 0.876),
            Answer(f"{prefix}.second", "Worse.", -0.25),
        ]

    return found


def widget(**options):
    searches = {"counts": search("counts"), "vectors": search("vectors")}
    return widgets.DocSearch(searches, EXAMPLES, GROUPS, **options)


def shown(one):
    return re.findall(r"<li><b>(.*?)</b>", one.page.value)


def test_the_first_example_is_searched_at_the_start():
    one = widget()
    assert shown(one) == ["counts.copy a folder", "counts.second"]
    words = (
        "Nearest to “copy a folder” by counts: 2, first counts.copy a folder (0.88)."
    )
    assert words in one.message.value


def test_results_are_a_list_with_numbers_and_bars_and_escaped():
    markup = widget().page.value
    assert '<ol class="course-found" aria-label="Nearest to “copy a folder”' in markup
    assert "About &lt;copy a folder&gt; &amp; more." in markup
    assert re.findall(r"<span>(-?\d\.\d\d)</span>", markup) == ["0.88", "-0.25"]
    assert re.findall(r'aria-hidden="true" style="width:(\d+%)"', markup) == [
        "88%",
        "0%",
    ]


def test_words_examples_encoder_and_groups_each_show_what_they_should():
    one = widget()
    one.query.value = "  open   it "
    assert shown(one)[0] == "counts.open it" and one.example.value is None
    one.encoder.value = "vectors"
    assert shown(one)[0] == "vectors.open it"
    one.example.value = "sort a list"
    assert one.query.value == "sort a list" and shown(one)[0] == "vectors.sort a list"
    one.group.value = "path, file"
    assert shown(one) == ["os.stat"] and one.query.value == "sort a list"
    assert "Most typical of “path, file”: 1, first os.stat (0.90)" in one.message.value
    one.example.value = "copy a folder"
    assert one.group.value is None and shown(one)[0] == "vectors.copy a folder"


def test_an_example_can_be_chosen_again_after_other_words():
    one = widget()
    one.query.value = "other"
    one.example.value = "copy a folder"
    assert shown(one)[0] == "counts.copy a folder"


@pytest.mark.parametrize(
    ("words", "says"),
    [("   ", "Write what you look for, such as: copy a folder."), ("zz", "no word of")],
)
def test_half_a_query_is_no_alarm(words, says):
    one = widget()
    one.query.value = words
    assert says in one.message.value and 'role="status"' in one.message.value
    assert one.page.value == "" and one.still() is None
    one.query.value = "again"
    assert shown(one)[0] == "counts.again"


def test_an_error_of_an_encoder_is_one_sentence():
    one = widget()
    one.query.value = "boom"
    assert "could not be shown (RuntimeError: out of order)" in one.message.value
    assert 'role="alert"' in one.message.value


def test_the_page_without_a_kernel_shows_the_results():
    one = widget()
    data, metadata = one._repr_mimebundle_()
    assert data["text/plain"] == metadata["image/png"]["alt"]
    assert "counts.copy a folder (0.876)" in data["text/plain"]
    one.group.value = "path, file"
    assert one.still().alt == "Most typical of “path, file”: os.stat (0.9)."


def test_while_keys_follow_one_another_it_waits_and_enter_does_not(monkeypatch):
    asked = []
    monkeypatch.setattr(doc_search, "PAUSE", 0.02)

    def found(query):
        asked.append(query)
        return search("x")(query)

    async def write():
        one = widgets.DocSearch({"only": found}, EXAMPLES)
        for letters in ("o", "op", "ope", "open"):
            one.query.value = letters
        assert asked == ["copy a folder"]
        await asyncio.sleep(0.1)
        assert asked == ["copy a folder", "open"]
        one.query.value = "close"
        one.query._handle_custom_msg({"event": "submit"}, [])
        assert asked[-1] == "close"
        await asyncio.sleep(0.1)
        assert asked == ["copy a folder", "open", "close"]

    asyncio.run(write())


def test_menus_that_offer_no_choice_are_left_out():
    one = widgets.DocSearch({"only": search("x")}, EXAMPLES)
    rows = [row.children for row in one.children if hasattr(row, "children")]
    assert rows == [(one.query,), (one.example,)]


def test_without_a_search_or_an_example_there_is_no_widget():
    for searches, examples in (({}, EXAMPLES), ({"only": search("x")}, [])):
        with pytest.raises(CourseError, match="an encoder's search, and an example"):
            widgets.DocSearch(searches, examples)
