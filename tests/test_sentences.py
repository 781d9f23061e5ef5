"""Sentences as vectors: pooling, baseline, search, clusters, encoders by name."""

import json
import math
import types
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from course import bag_of_words, search, sentence_encoder, sentences, words
from course.data import docstrings
from course.data.questions import QUESTIONS
from course.data.texts import TextPart
from course.errors import CourseError, HeldOutError
from course.search import Answer

WORDS = ("cat", "dog", "tin", "iron", "the")
VALUES = torch.tensor(
    [[1.0, 0, 0.5], [0.9, 0.1, 0.5], [0, 1, 0.5], [0.1, 0.9, 0.5], [0, 0, 1]]
)
VECTORS = words.WordVectors(WORDS, VALUES)
TEXTS = ["the cat", "the dog", "the tin", "the iron", "the the dog"]
ROOT = Path(__file__).parents[1]
BAD_TEXTS = ["", "   ", "zebra", "猫 и собака", "\x00\udcff", "!?" * 50]


def part(kind="train", texts=TEXTS, labels=(0, 0, 1, 1, 0)):
    return TextPart(tuple(texts), torch.tensor(labels), ("animal", "metal"), kind)


# Pooling


def test_the_mean_counts_every_word_and_passes_over_unknown_ones():
    vectors = sentences.mean(VECTORS).encode(["the cat cat zebra"])
    assert torch.allclose(vectors[0], (VALUES[4] + 2 * VALUES[0]) / 3)


def test_sif_is_the_formula_of_its_paper():
    encoder = sentences.sif(VECTORS, TEXTS, a=0.1)
    frequency = torch.tensor([1, 2, 1, 1, 6]) / 11
    weights = 0.1 / (0.1 + frequency)
    pairs = ([4, 0], [4, 1], [4, 2], [4, 3], [4, 4, 1])
    plain = torch.stack([(weights[p, None] * VALUES[p]).mean(dim=0) for p in pairs])
    first = torch.linalg.svd(plain, full_matrices=False)[2][0]
    wanted = plain - plain @ first[:, None] * first
    assert torch.allclose(encoder.encode(TEXTS), wanted, atol=1e-6)
    assert torch.allclose(encoder.weights, weights)


def test_sif_learns_from_its_texts_alone():
    encoder = sentences.sif(VECTORS, TEXTS)
    alone = encoder.encode(["the cat"])
    assert torch.allclose(encoder.encode(["the cat", "iron " * 9])[:1], alone)
    with pytest.raises(HeldOutError, match="the weights of words"):
        sentences.sif(VECTORS, part("test"))
    learnt = sentences.sif(VECTORS, part())
    assert torch.equal(learnt.weights, encoder.weights)


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_a_text_of_which_nothing_is_known_gives_zeros(text):
    for encoder in (sentences.mean(VECTORS), sentences.sif(VECTORS, TEXTS)):
        vectors = encoder.encode([text, "cat"])
        assert vectors.shape == (2, 3) and not vectors[0].any() and vectors[1].any()


def test_a_megabyte_of_text_is_encoded():
    vectors = sentences.mean(VECTORS).encode(["cat the " * 125_000])
    assert torch.allclose(vectors[0], (VALUES[0] + VALUES[4]) / 2, atol=1e-4)
    assert sentences.mean(VECTORS).encode([]).shape == (0, 3)


@pytest.mark.parametrize("texts", ["one text", [b"bytes"], [None], [3]])
def test_what_is_no_list_of_strings_is_refused(texts):
    with pytest.raises(CourseError, match="expected a list of strings"):
        sentences.mean(VECTORS).encode(texts)


def test_weights_without_a_known_word_or_a_frequency_are_refused():
    with pytest.raises(CourseError, match="None of the 5 words with a vector"):
        sentences.sif(VECTORS, ["zebra"])
    with pytest.raises(CourseError, match="a was 0"):
        sentences.sif(VECTORS, TEXTS, a=0)


# Bag of words, and a probe by the same rule


def test_counts_are_the_formula_of_the_docstring():
    row = bag_of_words.TfIdf(TEXTS).encode(["the the dog zebra"]).to_dense()[0]
    the = (1 + math.log(2)) * (1 + math.log(6 / 6))
    dog = 1 + math.log(6 / 3)
    wanted = F.normalize(torch.tensor([dog, the]), dim=0)
    assert torch.allclose(row[row > 0].sort().values, wanted.sort().values)


def test_the_baseline_learns_and_says_what_a_word_adds():
    baseline = sentences.bag_of_words(part(), part("validation"))
    assert baseline.score(part("test")) == 1.0 and baseline.C in sentences.CS
    weights = baseline.weights("tin")
    assert weights["metal"] > 0 > weights["animal"]
    assert set(baseline.weights("zebra").values()) == {0.0}
    assert baseline.predict(BAD_TEXTS).shape == (len(BAD_TEXTS),)


def test_of_equals_the_smaller_C_wins_for_both():
    Cs = (10.0, 1.0, 100.0)
    assert sentences.bag_of_words(part(), part("validation"), Cs).C == 1.0
    encoder = sentences.mean(VECTORS)
    assert sentences.probe(encoder, part(), part("validation"), Cs).C == 1.0
    assert sentences.bag_of_words(part(), None, (7.0,)).C == 7.0


def test_a_probe_learns_from_any_encoder():
    encoder = sentences.sif(VECTORS, TEXTS)
    probe = sentences.probe(encoder, part(), part("validation"))
    assert probe.score(sentences.features(encoder, part("test"))) == 1.0
    assert probe.layer == encoder.name and probe.class_names == ("animal", "metal")


@pytest.mark.parametrize("fit", ["bag of words", "probe"])
@pytest.mark.parametrize("place", [0, 1])
def test_nothing_is_fitted_or_chosen_on_a_test_part(fit, place):
    parts = [part(), part("validation")]
    parts[place] = part("test")
    encoder = sentences.mean(VECTORS)
    with pytest.raises(HeldOutError):
        if fit == "probe":
            sentences.probe(encoder, *parts)
        else:
            sentences.bag_of_words(*parts)


def test_what_cannot_be_learnt_is_refused():
    with pytest.raises(CourseError, match="fewer than two classes"):
        sentences.bag_of_words(part(labels=(0,) * 5))
    with pytest.raises(CourseError, match="no word in these 5 texts"):
        sentences.bag_of_words(part(texts=["", "?", "!", " ", "_"]))
    with pytest.raises(CourseError, match="expected numbers above 0"):
        sentences.bag_of_words(part(), Cs=(0.0,))
    with pytest.raises(CourseError, match="sparse"):
        sentences.features(sentences.TfIdf(TEXTS), part())


def test_balanced_accuracy_counts_each_class_the_same():
    predicted, labels = torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 0, 1])
    assert sentences.balanced_accuracy(predicted, labels) == 0.5
    with pytest.raises(CourseError, match="as many of each"):
        sentences.balanced_accuracy(predicted, labels[:2])


# Search


@pytest.mark.parametrize("make", [sentences.mean, lambda _: sentences.TfIdf(TEXTS)])
def test_an_index_finds_by_cosine_and_of_equals_the_first(make):
    encoder = make(VECTORS)
    index = sentences.index(encoder, TEXTS)
    hits = index.search("the the dog", k=5)
    assert hits[0].place == 4 and hits[0].similarity == pytest.approx(1, abs=1e-5)
    dense = F.normalize(encoder.encode(TEXTS).to_dense(), dim=1)
    cosine = dense @ dense[4]
    assert [h.similarity for h in hits] == pytest.approx(
        cosine.sort(descending=True).values.tolist(), abs=1e-5
    )
    twice = sentences.index(encoder, ["cat", "tin", "cat"])
    assert [hit.place for hit in twice.search("cat", 2)] == [0, 2]


def test_a_query_of_nothing_is_said_and_a_vector_is_searched():
    index = sentences.index(sentences.mean(VECTORS), TEXTS)
    for query in BAD_TEXTS[:2]:
        with pytest.raises(CourseError, match="query is empty"):
            index.search(query, 1)
    with pytest.raises(CourseError, match=r"'mean of word vectors' knows no word"):
        index.search("zebra", 1)
    with pytest.raises(CourseError, match="expected a number from 1 to 5"):
        index.search("cat", 6)
    assert index.search(VALUES[2], 1)[0].place == 2
    with pytest.raises(CourseError, match="2 numbers and each text 3"):
        index.search(torch.ones(2), 1)
    with pytest.raises(CourseError, match="no encoder"):
        sentences.Index(TEXTS, torch.ones(5, 3)).search("cat", 1)
    with pytest.raises(CourseError, match="5 texts and 4 vectors"):
        sentences.Index(TEXTS, torch.ones(4, 3))


ENTRIES = [
    docstrings.Docstring("zoo.cat", "The cat.\n\nMore of it.", "zoo.py", ""),
    docstrings.Docstring("zoo._dog", "The dog.", "zoo.py", ""),
    docstrings.Docstring("metal.tin", "The tin " + "iron " * 40, "metal.py", ""),
    docstrings.Docstring("help.cat", "A cat.", "topics.py", ""),
    docstrings.Docstring("zoo.cat", "Another cat.", "zoo_c", ""),
]


def test_a_finder_answers_with_names_and_first_lines_of_what_can_be_used():
    entries = sentences.usable(ENTRIES)
    assert [entry.name for entry in entries] == ["zoo.cat", "metal.tin"]
    answers = sentences.finder(sentences.mean(VECTORS), entries)("cat")
    assert [answer.name for answer in answers] == ["zoo.cat", "metal.tin"]
    assert answers[0].line == "The cat." and len(answers[1].line) <= 100


def test_questions_are_counted_and_compared():
    def find(query):
        if query == "c":
            raise CourseError("nothing known")
        return [Answer(query, "", 1.0)]

    asked = [("a", ("a", "x")), ("b", ("x",)), ("c", ("c",))]
    assert sentences.found(find, asked) == [True, False, False]


def test_the_sign_test_is_mcnemars():
    first, second = [True] * 8 + [False] * 2, [False] * 6 + [True] * 4
    assert sentences.sign_test(first, second) == pytest.approx(2 * 37 / 256)
    assert sentences.sign_test([True, False], [True, False]) == 1.0
    with pytest.raises(CourseError, match="same questions"):
        sentences.sign_test([True], [])


def test_every_question_has_an_answer_in_this_python():
    names = {entry.name for entry in search.usable(docstrings.corpus())}
    assert len(QUESTIONS) == len({q.query for q in QUESTIONS}) == 40
    assert [q.query for q in QUESTIONS if names.isdisjoint(q.answers)] == []


# Clusters and the plane


def test_clusters_are_found_named_and_browsed():
    texts = ["the cat"] * 5 + ["the tin"] * 4
    vectors = sentences.mean(VECTORS).encode(texts)
    groups = sentences.clusters(texts, vectors, 2)
    assert len(groups.labels[:5].unique()) == len(groups.labels[5:].unique()) == 1
    assert {name.split(",")[0] for name in groups.names} == {"cat", "tin"}
    cats = int(groups.labels[0])
    assert groups.members(cats) == [0, 1, 2, 3, 4]
    again = sentences.clusters(texts, vectors, 2)
    assert torch.equal(groups.labels, again.labels) and groups.names == again.names
    entries = [docstrings.Docstring(f"e{n}", t, "", "") for n, t in enumerate(texts)]
    pages = sentences.browse(groups, entries, most=3)
    assert [one.name for one in pages[groups.names[cats]]] == ["e0", "e1", "e2"]
    with pytest.raises(CourseError, match="the same texts"):
        sentences.browse(groups, entries[:3])


def test_clusters_of_one_name_are_numbered_and_too_many_refused():
    vectors = torch.tensor([[1.0, 0], [0, 1.0]])
    names = sentences.clusters(["same word", "same word"], vectors, 2).names
    assert len(set(names)) == 2 and names[1].endswith("(2)")
    with pytest.raises(CourseError, match="3 clusters were asked of 2 texts"):
        sentences.clusters(["a", "b"], vectors, 3)


def test_the_plane_keeps_distances_as_well_as_two_numbers_can():
    flat = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    turned = torch.linalg.qr(torch.randn(5, 5))[0]
    places = sentences.plane(F.pad(flat, (0, 3)) @ turned)
    assert torch.allclose(
        torch.cdist(places, places), torch.cdist(flat, flat), atol=1e-4
    )
    with pytest.raises(CourseError, match="two or more vectors"):
        sentences.plane(torch.ones(1, 5))


# The recorded figures


@pytest.mark.skipif(
    not sentences.SENTIMENT.is_file(), reason="no figures have been recorded yet"
)
def test_the_table_of_sentiment_is_whole():
    table = json.loads(sentences.SENTIMENT.read_text("utf-8"))
    methods = {row["method"] for row in table["rows"]}
    labels = {row["labels_a_class"] for row in table["rows"]}
    assert len(table["rows"]) == len(methods) * len(labels)
    assert {"bag of words", "GloVe, SIF"} <= methods and {20, 100, 500, "all"} <= labels
    for row in table["rows"]:
        assert len(row["accuracies"]) == (1 if row["labels_a_class"] == "all" else 5)
        assert all(0.4 < accuracy < 1 for accuracy in row["accuracies"])


# Encoders of other people, by name


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub without a network, and what a small encoder's folder holds."""
    real = sentence_encoder.importlib.util.find_spec
    monkeypatch.setattr(
        sentence_encoder,
        "_installed",
        lambda package: package in ("transformers", "huggingface_hub") or real(package),
    )

    def download(name, file, local_files_only):
        raise OSError("no network")

    module = types.SimpleNamespace(hf_hub_download=download)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", module)
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [
        {"path": f"{n}_{kind}" if n else "", "type": f"sentence_transformers.x.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    folder = tmp_path / "tiny"
    write(folder, "modules.json", modules)
    write(folder, "1_Pooling/config.json", {"pooling_mode_mean_tokens": True})
    write(folder, "config.json", {"max_position_embeddings": 64})
    return folder


def write(folder, file, content):
    place = folder / file
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(content))


def test_without_the_extra_one_sentence_says_what_brings_it(monkeypatch):
    monkeypatch.setattr(sentence_encoder, "_installed", lambda package: False)
    with pytest.raises(CourseError, match=r"pip install -e '\.\[text\]'"):
        sentences.load()


@pytest.mark.parametrize(
    ("download", "says"), [(False, "is not on this machine"), (True, "not be fetched")]
)
def test_an_encoder_that_is_not_here_is_said_with_the_call_that_fetches_it(
    hub, download, says
):
    with pytest.raises(CourseError, match=says) as caught:
        sentences.load("me/tiny", download=download)
    assert 'sentences.load("me/tiny", download=True)' in str(caught.value)


def test_a_pickle_is_refused_and_a_missing_file_is_named(hub):
    (hub / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(CourseError, match=r"pytorch_model\.bin, a pickle"):
        sentences.load("me/tiny", folder=hub)
    (hub / "pytorch_model.bin").unlink()
    with pytest.raises(
        CourseError, match=r"no model\.safetensors of me/tiny in 'tiny'"
    ):
        sentences.load("me/tiny", folder=hub)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("modules.json", {}, r"modules\.json of me/tiny is damaged"),
        ("modules.json", [{"type": "os.system"}, {}], "is damaged"),
        (
            "modules.json",
            [{"type": "os.system", "path": ""}, {"type": "a.Pooling", "path": "p"}],
            "is made of system, Pooling; expected a Transformer",
        ),
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "by max; expected mean"),
        ("1_Pooling/config.json", {}, "by other means"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            "by cls and mean",
        ),
    ],
)
def test_what_is_not_known_here_is_refused_and_never_imported(hub, file, content, says):
    write(hub, file, content)
    with pytest.raises(CourseError, match=says):
        sentences.load("me/tiny", folder=hub)


def test_a_damaged_json_file_is_named(hub):
    (hub / "modules.json").write_bytes(b"\xff{")
    with pytest.raises(CourseError, match=r"modules\.json of me/tiny is damaged"):
        sentences.load("me/tiny", folder=hub)


class Tiny(torch.nn.Module):
    """A transformer whose hidden states are the ids themselves."""

    config = types.SimpleNamespace(hidden_size=2, pad_token_id=0)

    def forward(self, input_ids, attention_mask):
        hidden = torch.stack([input_ids.float(), torch.ones(input_ids.shape)], dim=-1)
        return types.SimpleNamespace(last_hidden_state=hidden)


class Letters:
    """A tokenizer of letters."""

    def encode_batch(self, texts):
        return [types.SimpleNamespace(ids=[ord(c) for c in text]) for text in texts]


@pytest.mark.parametrize(
    ("pooling", "wanted"), [("mean", [98, 97, 0]), ("cls", [97, 97, 0])]
)
def test_padding_does_not_count_and_the_order_is_kept(pooling, wanted):
    encoder = sentence_encoder.SentenceEncoder(
        "tiny", Tiny(), Letters(), 9, pooling, False, {}
    )
    vectors = encoder.encode(["abc", "a", ""])
    assert vectors[:, 0].tolist() == wanted
    assert encoder.encode([]).shape == (0, 2)


def test_a_saved_encoder_answers_as_its_library_does():
    pytest.importorskip("transformers", reason="the extra [text] is not installed")
    try:
        encoder = sentences.load()
    except CourseError as error:
        pytest.skip(str(error))
    near, far = encoder.encode(["sort a list", "put in order", "send a mail"])[1:]
    first = encoder.encode(["sort a list"])[0]
    assert first @ near > first @ far
