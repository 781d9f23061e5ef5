"""The small language model: attention, hidden words, tuning, and its weights."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course import cli, encoder, language, masking, models, pretraining
from course.data import docstrings
from course.data.texts import TextPart
from course.errors import CourseError, HeldOutError
from course.training import Recipe
from course.words import MASK, PAD, SPECIAL, UNK, Vocabulary, WordVectors, pmi_vectors

SENTENCES = [
    f"{who} will {verb} the {thing} in the {place}"
    for who, place in (("monday", "kitchen"), ("sunday", "garden"))
    for verb, thing in (("open", "file"), ("read", "book"), ("eat", "cake"))
] * 4
NAMES = ("indoors", "outdoors")


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.build(SENTENCES)


def a_part(kind="train"):
    labels = torch.tensor([int("garden" in text) for text in SENTENCES])
    texts = tuple(text.replace("monday ", "").strip() for text in SENTENCES)
    return TextPart(texts, labels, NAMES, kind)


@pytest.fixture(scope="module")
def learnt(vocabulary):
    """A model that has read the sentences, and how that went."""
    model = language.fresh(vocabulary, seed=0)
    recipe = Recipe(60, batch=4, rate=3e-3)
    history = language.pretrain(model, SENTENCES, recipe, progress=False, device="cpu")
    return model, history


# The network --------------------------------------------------------------------------


def test_attention_equals_the_loop_over_words():
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 5, 4, generator=generator)
    near = torch.randn(2, 5, 5, generator=generator)
    pads = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    found = encoder.attention(q, k, v, near, pads)
    for text, length in ((0, 5), (1, 3)):
        for head in range(2):
            for i in range(length):
                scores = [
                    (q[text, head, i] @ k[text, head, j]) / 2 + near[head, i, j]
                    for j in range(length)
                ]
                shares = torch.stack(scores).softmax(0)
                expected = shares @ v[text, head, :length]
                assert torch.allclose(found[text, head, i], expected, atol=1e-5)


def test_heads_begin_by_looking_to_one_side_and_nearby():
    near = encoder.nearby()
    middle = encoder.LONGEST - 1  # distance 0
    for head, row in enumerate(near):
        side = 1 if head % 2 == 0 else -1
        assert row.argmax() == middle + side
        assert row[middle + 2 * side] > row[middle - side]
    assert near[0, middle + 20] < near[2, middle + 20]  # the second pair sees farther


def test_what_a_text_is_padded_with_changes_nothing(vocabulary):
    network = language.fresh(vocabulary, seed=0).network
    ids = torch.tensor([[3, 4, 5]])
    wider = torch.tensor([[3, 4, 5, PAD, PAD], [6, 7, 8, 9, 10]])
    assert torch.allclose(network(ids)[0], network(wider)[0, :3], atol=1e-5)
    pooled = encoder.mean_of_words(network(wider), wider)[0]
    assert torch.allclose(pooled, network(ids)[0].mean(dim=0), atol=1e-5)


def test_the_order_of_words_matters(vocabulary):
    model = language.fresh(vocabulary, seed=0)
    one, other = model.encode(["open the file", "file the open"])
    assert not torch.allclose(one, other, atol=1e-3)


# Hidden words -------------------------------------------------------------------------


def test_words_are_hidden_as_bert_hides_them():
    ids = torch.randint(1, 500, (400, 40), generator=torch.Generator().manual_seed(0))
    ids[:, 35:] = PAD
    seen, answers = masking.hide(ids, 500, np.random.default_rng(0))
    asked = answers != masking.NOTHING
    assert torch.equal(answers[asked], ids[asked])
    assert torch.equal(seen[~asked], ids[~asked])
    assert not asked[ids < len(SPECIAL)].any()
    words = ids >= len(SPECIAL)
    assert asked.sum() / words.sum() == pytest.approx(0.2, abs=0.02)
    assert (seen[asked] == MASK).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (seen[asked] == ids[asked]).float().mean() == pytest.approx(0.1, abs=0.02)
    assert (seen[asked] >= len(SPECIAL)).float().mean() == pytest.approx(0.2, abs=0.03)


def test_the_loss_is_that_of_the_hidden_places_alone(vocabulary):
    network = language.fresh(vocabulary, seed=0).network
    seen, answers = (
        torch.tensor([[3, MASK, 5], [MASK, 7, PAD]]),
        torch.full((2, 3), -100),
    )
    answers[0, 1], answers[1, 0] = 9, 4
    loss, accuracy = masking.masked_words(network, seen, answers)
    logits = network.words(network(seen))
    by_hand = F.cross_entropy(
        torch.stack([logits[0, 1], logits[1, 0]]), torch.tensor([9, 4])
    )
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-4)
    assert 0 <= accuracy.item() <= 1


def test_an_epoch_has_every_piece_once_and_a_batch_is_known_from_its_step():
    rng = np.random.default_rng(0)
    rows = [[3 + n] * int(rng.integers(4, 49)) for n in range(150)]
    stream = masking.Masked(rows, 200, Recipe(10, batch=8), seed=0)
    count = len(stream._groups)
    first = [stream.batch(step)[0] for step in range(count)]
    assert all(ids.numel() <= 8 * encoder.LONGEST for ids in first)
    assert sum(len(ids) for ids in first) == len(rows)
    again = masking.Masked(rows, 200, Recipe(10, batch=8), seed=0)
    assert torch.equal(again.batch(3)[0], first[3])
    assert sum((ids == PAD).sum() for ids in first) < 0.2 * sum(
        i.numel() for i in first
    )
    later = [stream.batch(step)[0] for step in range(count, 2 * count)]
    assert {tuple(i.shape) for i in first} == {tuple(i.shape) for i in later}
    assert not torch.equal(first[0], later[0])


def test_other_words_are_hidden_each_time():
    stream = masking.Masked([[3, 4, 5, 6, 7] * 9] * 4, 8, Recipe(10, batch=4), seed=0)
    first, second = (stream.batch(step)[1] for step in (0, 1))
    assert first.shape == second.shape and not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_long_texts_become_pieces_and_short_ones_are_left_out(vocabulary):
    texts = ["open " * 100, "open the", "", "read the book in"]
    lengths = [len(piece) for piece in masking.pieces(texts, vocabulary)]
    assert lengths == [48, 48, 4, 4]
    with pytest.raises(CourseError, match="None of the 2 texts"):
        masking.pieces(["", "one"], vocabulary)


def test_counting_knows_frequencies_and_neighbours(vocabulary):
    rows = masking.pieces(SENTENCES, vocabulary)
    seen, asked = torch.tensor([vocabulary.ids("will eat the [MASK] in the")]), 3
    asked = seen == MASK
    alone = masking.counted(rows, vocabulary.size, neighbours=False)
    assert vocabulary.words[alone.guess(seen, asked)[0].argmax()] == "the"
    beside = masking.counted(rows, vocabulary.size).guess(seen, asked)
    assert vocabulary.words[beside[0].argmax()] in ("cake", "book", "file")
    assert beside.exp().sum().item() == pytest.approx(1, abs=1e-3)
    few = [
        masking.guesses(c.guess, rows, vocabulary.size)
        for c in (alone, masking.counted(rows, vocabulary.size))
    ]
    assert few[0].n == few[1].n and few[1].loss < few[0].loss


# The language model -------------------------------------------------------------------


def test_reading_teaches_which_word_fits(learnt, vocabulary):
    model, history = learnt
    assert history.rows[-1]["loss"] < history.rows[0]["loss"] - 1
    best = model.fill("monday will eat the [MASK] in the kitchen")
    assert best[0].name == "cake" and len(best) == 5
    assert best[0].probability > best[1].probability
    rows = masking.pieces(SENTENCES, vocabulary)
    guessed = masking.guesses(model.guess, rows, vocabulary.size)
    counted = masking.counted(rows, vocabulary.size, neighbours=False)
    assert guessed.loss < masking.guesses(counted.guess, rows, vocabulary.size).loss


def test_the_same_seed_gives_the_same_model_and_stopping_keeps_it_usable(vocabulary):
    states = []
    for seed in (0, 0, 1):
        model = language.fresh(vocabulary, seed=0)
        language.pretrain(
            model, SENTENCES, Recipe(3, batch=4), seed=seed, progress=False
        )
        states.append(model.network.state_dict()["bias"])
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])
    stop = threading.Event()
    history = language.pretrain(
        model,
        SENTENCES,
        Recipe(50, batch=4),
        progress=False,
        stop=stop,
        after_step=lambda row: stop.set() if row["step"] == 2 else None,
    )
    assert history.stopped and len(history.rows) == 2 and not model.network.training


@pytest.mark.parametrize(
    "text", ["", "open", "xyzzy plugh", "今日はとても良い天気", "\x00\ud800 …", "🙂"]
)
def test_any_text_gets_a_vector(learnt, text):
    model, _ = learnt
    (vector,) = model.encode([text])
    assert vector.shape == (encoder.WIDTH,) and vector.isfinite().all()
    assert (vector.norm() > 0) == (text == "open")


def test_a_megabyte_is_read_for_its_first_words(learnt):
    model, _ = learnt
    words = "open the file " * 16
    assert len(words.split()) == encoder.LONGEST
    long = words + "cake garden sunday " * 60_000
    assert torch.allclose(*model.encode([words, long]), atol=1e-6)
    assert model.encode([]).shape == (0, encoder.WIDTH)


def test_vectors_do_not_depend_on_what_else_is_read(learnt):
    model, _ = learnt
    texts = ["open the file", "sunday will read the book in the garden", "cake"]
    together = model.encode(texts)
    apart = torch.cat([model.encode([text]) for text in texts])
    assert torch.allclose(together, apart, atol=1e-5)


def test_texts_that_are_none_are_refused(learnt):
    model, _ = learnt
    with pytest.raises(CourseError, match="list of strings"):
        model.encode("one text")
    with pytest.raises(CourseError, match="has 0 hidden words; expected one"):
        model.fill("open the file")
    with pytest.raises(CourseError, match="has 2 hidden words"):
        model.fill("[MASK] the [MASK]")
    with pytest.raises(CourseError, match="0 words were asked for"):
        model.fill("open the [MASK]", k=0)


def test_a_hidden_word_far_behind_is_read_with_what_stands_around(learnt):
    model, _ = learnt
    end = "monday will eat the [MASK] in the kitchen"
    far = "sunday will read the book in the garden " * 500 + end
    assert model.fill(far)[0].name == "cake"
    assert len(model.fill(end, k=10_000)) == model.vocabulary.size - len(SPECIAL)


def test_words_can_start_from_vectors(vocabulary):
    vectors = pmi_vectors(SENTENCES, Vocabulary.build(SENTENCES), dimension=8)
    with pytest.raises(CourseError, match="8 numbers each do not fit"):
        language.fresh(vocabulary, 0, vectors)
    values = torch.randn(vocabulary.size, encoder.WIDTH)
    model = language.fresh(vocabulary, 0, WordVectors(vocabulary.words, values))
    assert torch.equal(model.network.embedding.weight, values)
    random = language.fresh(vocabulary, 0)
    assert torch.equal(random.network.norm.weight, model.network.norm.weight)


def test_nothing_is_read_that_is_tested_later():
    learned, held_out = language.library_texts()
    test = set(docstrings.topics_task().test.texts)
    corpus = docstrings.corpus()
    masked = {one.text: docstrings.masked(one) for one in corpus}
    assert len(learned) + len(held_out) == len(corpus)
    assert test <= {masked[text] for text in held_out}
    files = {one.file for one in corpus if one.text in set(held_out)}
    assert not files & {one.file for one in corpus if one.text in set(learned)}
    assert len(learned) > len(held_out)


# Fine-tuning --------------------------------------------------------------------------


def test_a_tuned_model_has_learnt_and_its_source_is_as_it_was(learnt):
    model, _ = learnt
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    recipe = Recipe(30, batch=8, rate=2e-3)
    tuned = language.fine_tune(model, a_part(), recipe, progress=False, device="cpu")
    assert tuned.score(a_part("test")) > 0.9
    assert tuned.class_names == NAMES and len(tuned.history.rows) == 30
    assert tuned.predict(["", "garden"]).shape == (2,)
    after = model.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again = language.fine_tune(model, a_part(), recipe, progress=False, device="cpu")
    assert torch.equal(again.logits(SENTENCES), tuned.logits(SENTENCES))


def test_tuning_refuses_a_test_part_and_an_empty_one(learnt):
    model, _ = learnt
    with pytest.raises(HeldOutError, match="given to fine_tune"):
        language.fine_tune(model, a_part("test"), Recipe(2))
    with pytest.raises(CourseError, match="is empty"):
        language.fine_tune(model, a_part().take([]), Recipe(2))
    with pytest.raises(HeldOutError, match="choice of a learning rate"):
        language.choose_rate(model, a_part(), a_part("test"), Recipe(2), (1e-3,), 0)


def test_the_best_rate_comes_first_and_of_equals_the_smaller(learnt):
    model, _ = learnt
    validation = a_part("validation")
    rates = (1e-9, 2e-3, 1e-8, 1e30)
    found = language.choose_rate(
        model, a_part(), validation, Recipe(20, batch=8), rates, 0
    )
    assert found[0][0] == 2e-3 and found[0][1] > 0.9
    places = [rate for rate, _ in found]
    assert places.index(1e-9) < places.index(1e-8)
    assert sorted(places) == sorted(rates)


# Files --------------------------------------------------------------------------------


def test_what_is_saved_is_loaded_with_its_words(learnt, tmp_path):
    model, _ = learnt
    path = tmp_path / "mine.safetensors"
    language.save(model, path)
    loaded = language.load(path)
    assert loaded.vocabulary == model.vocabulary and loaded.name == "mine"
    texts = ["open the file", "sunday"]
    assert torch.allclose(loaded.encode(texts), model.encode(texts), atol=2e-2)
    first = path.read_bytes()
    language.save(model, path)
    assert path.read_bytes() == first


def test_files_that_are_no_language_model_are_refused(learnt, tmp_path):
    with pytest.raises(CourseError, match="or one of: words-transformer"):
        language.load("words-transformers")
    path = tmp_path / "resnet.safetensors"
    models.save(models.fresh(NAMES, 0, width=4), path)
    with pytest.raises(CourseError, match="does not hold a language model"):
        language.load(path)
    language.save(learnt[0], path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CourseError, match="truncated or altered"):
        language.load(path)


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_language import make
make(Path(sys.argv[1]), after_step=lambda row: print(int(row["step"]), flush=True))
"""


def make(out, resume=False, after_step=None):
    """Make the weights from a few texts, in nine steps."""
    numbers = range(300)
    texts = tuple(f"text {n} says that {n % 7} is like {n % 5}" for n in numbers)
    recipe = replace(language.LIVE, steps=9, batch=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language, "library_texts", lambda: (texts, texts[::9]))
        patch.setattr(pretraining, "SAVE_EVERY", 2)
        patch.setattr(language, "SOURCE", replace(language.SOURCE, recipe=recipe))
        options = {"device": "cpu", "progress": False, "after_step": after_step}
        return language.make(out=out, resume=resume, **options)


def test_killed_and_resumed_ends_with_the_same_bytes(tmp_path):
    whole = make(tmp_path / "whole")
    folder = str(Path(__file__).parent)
    command = [sys.executable, "-c", RUN, str(tmp_path / "broken"), folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if int(line) == 5:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    steps = []
    broken = make(
        tmp_path / "broken",
        resume=True,
        after_step=lambda row: steps.append(row["step"]),
    )
    assert steps == [5, 6, 7, 8, 9]  # four steps had been saved
    assert whole.read_bytes() == broken.read_bytes()
    left = sorted(p.name for p in broken.parent.iterdir() if ".tmp" not in p.name)
    assert left == ["words-transformer.json", "words-transformer.safetensors"]
    card = json.loads(whole.with_suffix(".json").read_text("utf-8"))
    assert card["steps"] == 9 and card["held_out"]["n"] > 0


def test_the_command_line_makes_it_by_its_name(tmp_path, monkeypatch, capsys):
    asked = {}

    def made(name, **options):
        asked.update(options, name=name)
        return options["out"] / f"{name}.safetensors"

    monkeypatch.setattr(language, "make", made)
    arguments = ["pretrain", "words-transformer", "--seed", "3", "--resume"]
    assert cli.main([*arguments, "--out", str(tmp_path)]) == 0
    assert asked["name"] == "words-transformer" and asked["out"] == tmp_path
    assert asked["seed"] == 3 and asked["resume"] and asked["profile"] == "full"
    assert "words-transformer.safetensors" in capsys.readouterr().out


def test_the_shipped_model_is_small_verified_and_described():
    path = models.WEIGHTS / "words-transformer.safetensors"
    card = path.with_suffix(".json")
    assert path.stat().st_size + card.stat().st_size <= 3_000_000
    model = language.load("words-transformer")
    assert model.card["recipe"] == json.loads(json.dumps(vars(language.SOURCE.recipe)))
    assert model.vocabulary.size == 6000 and UNK == 1
    assert model.card["held_out"]["accuracy"] > 0.15
    assert "library" in model.card["data"]
    assert model.name in pretraining.TEXT


def test_the_shipped_model_fills_in_what_the_library_would_say():
    model = language.load("words-transformer")
    names = [guess.name for guess in model.fill("Return [MASK] if the file exists.")]
    assert "true" in names
