"""Words and their vectors: what was counted is right, and what breaks says why."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from course import words
from course.data import docstrings
from course.errors import CourseError
from course.words import Vocabulary, WordVectors, glove, pmi_vectors, tokens

REAL = Path(__file__).parents[2] / "shared" / "real" / "text" / "glove-50d-5k"
TOY = ["the cat sat on the mat", "the dog sat on the rug", "a cat and a dog"] * 3


@pytest.fixture(scope="module")
def learnt():
    texts = [one.text for one in docstrings.corpus()]
    return pmi_vectors(texts, Vocabulary.build(texts, 3000), dimension=64)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \n\t ...", []),
        ("One", ["one"]),
        (
            "readLine read_line XMLParser",
            ["read", "line", "read", "line", "xml", "parser"],
        ),
        ("utf8 3.14", ["utf", "8", "3", "14"]),
        ("don't can’t it's", ["do", "n't", "ca", "n't", "it", "s"]),
        ("很好 плохо café", ["很好", "плохо", "café"]),
        ("a\0b \ud800 👎", ["a", "b"]),
        ("__init__", ["init"]),
    ],
)
def test_words_of_any_text(text, expected):
    assert tokens(text) == expected


def test_a_megabyte_of_text_is_no_trouble():
    assert tokens("x" * 1_000_000) == ["x" * 1_000_000]
    assert len(tokens("ab_c " * 200_000)) == 400_000
    assert len(tokens("n't" * 300_000)) > 0
    assert len(tokens(os.urandom(1_000_000).decode("latin-1"))) > 0


def test_a_vocabulary_holds_the_most_frequent_words_in_a_fixed_order():
    known = Vocabulary.build(TOY, size=8)
    assert known.words == ("<pad>", "<unk>", "<mask>", "the", "a", "cat", "dog", "on")
    assert known.size == 8 and "cat" in known and "rug" not in known
    assert known.ids("The rug, a CAT!") == [3, 1, 4, 5]
    assert known.ids("the [MASK] on [MASK]") == [3, 2, 7, 2]
    assert known.ids("") == [] and known.ids("[MASK]") == [2]
    assert Vocabulary.build(TOY).size < 20
    assert Vocabulary.build(reversed(TOY), size=8) == known


def test_vocabularies_that_are_none_are_refused():
    with pytest.raises(CourseError, match="more than 3"):
        Vocabulary.build(TOY, size=3)
    with pytest.raises(CourseError, match="without a word"):
        Vocabulary.build(["", "..."])
    with pytest.raises(CourseError, match="first and each word once"):
        Vocabulary(("a", "b"))
    with pytest.raises(CourseError, match="4 of them"):
        Vocabulary((*words.SPECIAL, "a", "a"))


def test_nearness_is_counted_as_by_hand():
    texts = ["a b a c", "b zzz c", "c", ""]
    known = Vocabulary((*words.SPECIAL, "a", "b", "c"))
    counts = words.cooccurrence(texts, known, window=2).toarray()
    expected = np.zeros((6, 6))
    for text in texts:  # the slow way: every pair of places
        numbers = known.ids(text)
        for i, one in enumerate(numbers):
            for j, other in enumerate(numbers):
                if i != j and abs(i - j) <= 2 and min(one, other) > 2:
                    expected[one, other] += 1 / abs(i - j)
    np.testing.assert_allclose(counts, expected)
    assert counts[4, 5] == 1.0  # b a c, and b zzz c: half each


def test_pmi_is_the_equation():
    known = Vocabulary.build(TOY)
    counts = words.cooccurrence(TOY, known)
    dense = counts.toarray()
    context = dense.sum(0) ** 0.75
    word, context = dense.sum(1) / dense.sum(), context / context.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log(dense / dense.sum() / np.outer(word, context))
    expected = np.maximum(np.nan_to_num(pmi, nan=0, neginf=0), 0)
    np.testing.assert_allclose(words.positive_pmi(counts).toarray(), expected)


def test_the_same_seed_gives_the_same_bits():
    texts = [one.text for one in docstrings.corpus()[:800]]
    known = Vocabulary.build(texts, 500)
    one, again, other = (
        pmi_vectors(texts, known, dimension=32, seed=seed).values for seed in (0, 0, 1)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert one.shape == (500, 32) and one.dtype == torch.float32
    assert not one[:3].any() and one[3:].abs().sum(1).bool().sum() > 490
    difference = (one @ one.T - other @ other.T).abs().mean()
    assert difference < 0.5 * (one @ one.T).abs().mean()


def test_neighbours_know_what_belongs_together(learnt):
    def near(word):
        return [other for other, _ in learnt.neighbours(word, 12, among=2000)]

    assert "acquire" in near("lock")
    assert {"raised", "exception"} <= set(near("error"))
    assert "server" in near("client")
    assert "lock" not in near("lock")
    similar = [value for _, value in learnt.neighbours("lock", 12)]
    assert similar == sorted(similar, reverse=True) and similar[0] <= 1.0001


def test_neighbours_and_analogies_by_hand():
    values = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1], [1, 0.1]])
    toy = WordVectors(("none", "x", "y", "xy", "nearly"), values)
    assert [w for w, _ in toy.neighbours("x", 9)] == ["nearly", "xy", "y"]
    assert [w for w, _ in toy.neighbours("x", 9, among=4)] == ["xy", "y"]
    assert [w for w, _ in toy.neighbours("nearly", 2, among=3)] == ["x", "y"]
    answers = toy.analogy("x", "y", "nearly", 2)  # y - x + nearly is close to y
    assert [w for w, _ in answers] == ["xy", "none"][:1]
    assert toy.dimension == 2 and "xy" in toy and "z" not in toy
    assert toy.vector("y").tolist() == [0, 1]


def test_what_vectors_cannot_do_is_said(learnt):
    with pytest.raises(CourseError, match=r"Unknown word .sockett.*'socket'") as caught:
        learnt.vector("sockett")
    assert len(str(caught.value)) < 200
    for bad in ("", "很好", "two words", "Lock" * 1000):
        with pytest.raises(CourseError, match="Unknown word"):
            learnt.neighbours(bad)
    with pytest.raises(CourseError, match="expected 1 up"):
        learnt.neighbours("lock", 0)
    with pytest.raises(CourseError, match="expected 1 up"):
        learnt.neighbours("lock", 3, among=0)
    with pytest.raises(CourseError, match="expected as many"):
        learnt.nearest(torch.zeros(3), 1)
    with pytest.raises(CourseError, match="one row a word"):
        WordVectors(("a",), torch.zeros(2, 3))
    with pytest.raises(CourseError, match="finite"):
        WordVectors(("a",), torch.full((1, 3), torch.nan))


def test_too_little_to_count_is_said():
    known = Vocabulary.build(TOY)
    with pytest.raises(CourseError, match="expected 1 to"):
        pmi_vectors(TOY, known, dimension=128)
    with pytest.raises(CourseError, match="near one another"):
        pmi_vectors(["cat", "dog", "unheard of"], known, dimension=4)
    with pytest.raises(CourseError, match="near one another"):
        pmi_vectors([], known, dimension=4)
    with pytest.raises(CourseError, match="window of 0"):
        words.cooccurrence(TOY, known, window=0)


def test_glove_reads_its_own_format(tmp_path):
    file = tmp_path / "glove.toy.txt"
    file.write_bytes("the 0.5 -1\r\n很 1e-3 2\n\x85 3 4\n".encode())
    for place in (file, str(file), tmp_path):
        read = glove(place)
        assert read.words == ("the", "很", "\x85") and read.name == "glove.toy"
        assert torch.equal(read.values[0], torch.tensor([0.5, -1.0]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"the 1 2\ncat 1\n", "Line 2 of .*a word and 2 numbers"),
        (b"the 1 2\ncat 1 x\n", "Line 2"),
        (b"the 1 nan\n", "Line 1"),
        (b"the\n", "Line 1"),
        (b"", "Line 1|empty"),
        (b"PK\x03\x04\xff\xfe", "not UTF-8"),
    ],
)
def test_a_damaged_file_of_vectors_is_named(tmp_path, content, message):
    file = tmp_path / "glove.bad.txt"
    file.write_bytes(content)
    with pytest.raises(CourseError, match=message):
        glove(file)


def test_no_file_of_vectors_is_said(tmp_path):
    with pytest.raises(CourseError, match=r"no file; name one file"):
        glove(tmp_path / "absent.txt")
    with pytest.raises(CourseError, match=r"0 files glove"):
        glove(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real GloVe vectors are not here")
def test_the_real_vectors_know_their_famous_analogy():
    real = glove(REAL)
    assert real.values.shape == (5050, 50)
    assert "queen" in [w for w, _ in real.analogy("man", "king", "woman", 5)]
    assert "n't" in real
