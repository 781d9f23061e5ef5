"""Transfer: features, probes, strategies and the fair comparison."""

import dataclasses
import errno
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from course import extraction, models, strategies, transfer
from course.data.tasks import Task, TestPart, TrainPart, ValidationPart
from course.errors import CourseError, HeldOutError, TrainingDiverged
from course.training import Recipe, Trainer, evaluate, fit
from course.transfer import STRATEGIES, Start, features, linear_probe

SOURCE_NAMES = ("round", "square", "long")
NAMES = ("dark", "grey", "light")
RECIPE = Recipe(4, batch=6, rate=3e-3)


def a_part(kind, per_class=6, seed=0, size=16):
    """Images whose class is their brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(3 * per_class) % 3
    noise = torch.randint(0, 120, (len(labels), 3, size, size), generator=generator)
    return kind((noise + 65 * labels[:, None, None, None]).byte(), labels, NAMES)


def a_task(**test):
    return Task(
        "brightness",
        a_part(TrainPart, 8, 1),
        a_part(ValidationPart, 4, 2),
        a_part(TestPart, 5, **{"seed": 3, **test}),
    )


def a_source(seed=0):
    model = models.fresh(SOURCE_NAMES, seed=seed, width=4)
    model.preprocess = models.normalising(16)
    with torch.no_grad():  # statistics as after a training, and not 0 and 1
        model.network(model.preprocess(a_part(TrainPart, 10, 9).images))
    model.network.eval()
    return model


@pytest.fixture(autouse=True)
def an_empty_cache():
    transfer.forget()


@pytest.fixture
def passes(monkeypatch):
    """The list of batches that really went through a network."""
    seen, averaged = [], extraction._averaged
    monkeypatch.setattr(
        extraction, "_averaged", lambda out: (seen.append(len(out)), averaged(out))[1]
    )
    return seen


def run(name, seed=0, **options):
    return transfer.run(
        name,
        a_source(),
        a_task(),
        RECIPE,
        seed,
        device="cpu",
        progress=False,
        **options,
    )


def compare(names=("head", "probe"), task=None, **options):
    options = {"labels": (2,), "seeds": (0, 1), "rates": (1e-3, 1e-2), **options}
    return transfer.compare(
        names,
        a_source(),
        task or a_task(),
        recipe=RECIPE,
        device="cpu",
        progress=False,
        **options,
    )


# Features ---------------------------------------------------------------------------


def by_hand(model, images, until):
    x = model.preprocess(images)
    network = model.network.eval()
    with torch.no_grad():
        x = network.relu(network.bn1(network.conv1(x)))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = getattr(network, name)(x)
            if name == until:
                break
    return x.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("layer", "until"),
    [("layer1", "layer1"), ("layer3", "layer3"), ("avgpool", None), ("flatten", None)],
)
def test_features_equal_a_forward_pass_by_hand(layer, until):
    model, part = a_source(), a_part(TrainPart)
    found = features(model, part, layer)
    assert torch.allclose(found.values, by_hand(model, part.images, until), atol=1e-5)
    assert found.values.dtype == torch.float32 and found.layer == layer
    assert torch.equal(found.labels, part.labels) and found.class_names == NAMES


def test_features_inside_a_block_are_that_convolution():
    model, part = a_source(), a_part(TrainPart)
    caught = []
    conv = model.network.layer3[0].conv2
    hook = conv.register_forward_hook(lambda m, i, out: caught.append(out))
    model.logits(part.images)
    hook.remove()
    found = features(model, part, "layer3.0.conv2")
    assert torch.allclose(found.values, caught[0].mean(dim=(2, 3)), atol=1e-5)


@pytest.mark.parametrize("kind", [TrainPart, ValidationPart, TestPart])
def test_features_remember_the_kind_of_their_part(kind):
    found = features(a_source(), a_part(kind))
    assert found.kind == kind.kind
    assert found.take(torch.tensor([2, 0])).kind == kind.kind


def test_more_images_than_a_batch_keep_their_order(monkeypatch):
    model, part = a_source(), a_part(TrainPart)
    whole = features(model, part).values
    transfer.forget()
    monkeypatch.setattr(extraction, "BATCH", 5)
    assert torch.allclose(features(model, part).values, whole, atol=1e-6)


def test_a_network_in_training_mode_does_not_move_and_stays_in_it():
    model = a_source()
    model.network.train()
    model.network.bn1.eval()
    with transfer.assert_frozen(model.network):
        found = features(model, a_part(TrainPart))
    assert model.network.training and model.network.layer1.training
    assert not model.network.bn1.training
    transfer.forget()
    model.network.eval()
    assert torch.equal(features(model, a_part(TrainPart)).values, found.values)


def test_plain_images_have_features_without_labels():
    images = a_part(TrainPart).images
    found = features(a_source(), images)
    assert found.labels is None and len(found) == len(images)
    with pytest.raises(CourseError, match="no labels"):
        linear_probe(found)


def test_an_unknown_layer_is_named_with_the_nearest():
    with pytest.raises(CourseError, match=r"layer_4.*Did you mean 'layer4"):
        features(a_source(), a_part(TrainPart), "layer_4")


# Cache ------------------------------------------------------------------------------


def test_the_same_features_are_computed_once(passes):
    model, part = a_source(), a_part(TrainPart)
    first = features(model, part)
    first.values.zero_()  # what a reader does to the result harms nobody
    again = features(model, a_part(TrainPart))
    assert len(passes) == 1 and again.values.abs().sum() > 0


def test_other_images_weights_layers_or_preprocessing_are_computed_anew(passes):
    model, part = a_source(), a_part(TrainPart)
    features(model, part)
    features(model, a_part(TrainPart, seed=4))
    features(model, part, "layer2")
    features(a_source(seed=1), part)
    model.preprocess = models.normalising(24)
    features(model, part)
    model.network.bn1.running_mean += 1
    features(model, part)
    assert len(passes) == 6


def test_another_head_on_the_same_backbone_is_no_reason_to_compute(passes):
    model, part = a_source(), a_part(TrainPart)
    features(model, part)
    features(models.replace_head(model, NAMES, seed=3), part)
    assert len(passes) == 1


def test_memory_is_bounded_and_forgets_the_oldest():
    memory = extraction.Memory(limit=100)
    for key in "abc":
        memory.put(key, torch.zeros(10))
        memory.get("a")
    assert list(memory.kept) == ["c", "a"] or list(memory.kept) == ["a", "c"]
    assert sum(kept.nbytes for kept in memory.kept.values()) <= 100


def test_a_folder_keeps_features_for_the_next_session(tmp_path, passes):
    model, part = a_source(), a_part(TrainPart)
    first = features(model, part, cache=tmp_path / "new" / "folder")
    transfer.forget()
    again = features(model, part, cache=tmp_path / "new" / "folder")
    assert len(passes) == 1 and torch.equal(first.values, again.values)
    (file,) = (tmp_path / "new" / "folder").iterdir()
    assert file.suffix == ".safetensors"


@pytest.mark.parametrize("damage", ["truncate", "garbage", "empty"])
def test_a_damaged_file_is_computed_anew_and_mended(tmp_path, passes, damage):
    model, part = a_source(), a_part(TrainPart)
    first = features(model, part, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes({"truncate": whole[:-9], "garbage": b"x" * 99}.get(damage, b""))
    transfer.forget()
    again = features(model, part, cache=tmp_path)
    assert len(passes) == 2 and torch.equal(first.values, again.values)
    assert torch.equal(load_file(file)["values"], first.values)


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path):
    place = tmp_path / "folder"
    place.write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="going on without") as caught:
        found = features(a_source(), a_part(TrainPart), cache=place)
    assert len(caught) == 1 and len(found) == 18


def test_a_full_disk_costs_one_warning_and_leaves_nothing(tmp_path, monkeypatch):
    def full(tensors, place):
        place.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(extraction, "save_file", full)
    with pytest.warns(UserWarning, match="No space left") as caught:
        found = features(a_source(), a_part(TrainPart), cache=tmp_path)
    assert len(caught) == 1 and len(found) == 18
    assert not list(tmp_path.iterdir())


# Probe and neighbours ---------------------------------------------------------------


def test_a_probe_learns_and_as_a_head_it_predicts_the_same():
    model, task = a_source(), a_task()
    train, test = features(model, task.train), features(model, task.test)
    probe = linear_probe(train, features(model, task.validation))
    assert probe.score(test) > 0.6
    whole = transfer.attach(model, probe)
    assert whole.class_names == NAMES
    logits = whole.logits(task.test.images)
    assert torch.allclose(logits.double(), probe.logits(test), atol=1e-3)
    assert torch.equal(logits.argmax(dim=1), probe.predict(test))
    assert model.class_names == SOURCE_NAMES


def test_a_probe_is_logistic_regression_on_standardised_features():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train = features(a_source(), a_task().train)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    pipeline.fit(train.values.double().numpy(), train.labels.numpy())
    expected = pipeline.predict_proba(train.values.double().numpy())
    found = linear_probe(train).logits(train).softmax(dim=1).numpy()
    assert np.allclose(found, expected, atol=1e-3)


def test_c_is_what_does_best_on_validation_and_of_equals_the_smaller():
    model, task = a_source(), a_task()
    train, validation = (features(model, p) for p in (task.train, task.validation))
    Cs = (10.0, 1e-6, 0.1)
    chosen = linear_probe(train, validation, Cs)
    scores = {C: linear_probe(train, Cs=(C,)).score(validation) for C in Cs}
    best = max(scores.values())
    assert min(C for C, score in scores.items() if score == best) == chosen.C
    assert linear_probe(train, train.take(torch.arange(3)), (5.0, 2.0, 3.0)).C == 2.0
    assert linear_probe(train).C == 1.0


def test_test_features_are_refused_for_learning_and_for_choosing():
    model, task = a_source(), a_task()
    train, test = features(model, task.train), features(model, task.test)
    for refused in (
        lambda: linear_probe(test),
        lambda: linear_probe(train, test),
        lambda: linear_probe(test.take(torch.arange(6)), train),
        lambda: transfer.knn_accuracy(test, train),
    ):
        with pytest.raises(HeldOutError, match=r"task\.validation"):
            refused()


def test_two_classes_and_a_class_without_examples_work():
    model, task = a_source(), a_task()
    train = features(model, task.train)
    two = train.take(torch.nonzero(train.labels != 1).flatten())
    probe = linear_probe(two)
    assert probe.score(two) > 0.8
    assert not (probe.predict(train) == 1).any()
    assert torch.isfinite(probe.as_head().bias).all()


def test_bad_features_are_refused_in_a_sentence():
    model, task = a_source(), a_task()
    train = features(model, task.train)
    with pytest.raises(CourseError, match="two classes"):
        linear_probe(train.take(torch.tensor([0, 3])))
    broken = dataclasses.replace(train, values=train.values * math.nan)
    with pytest.raises(CourseError, match="finite"):
        linear_probe(broken)
    with pytest.raises(CourseError, match="same layer"):
        linear_probe(train).score(features(model, task.train, "layer1"))
    with pytest.raises(CourseError, match="feeds the head"):
        transfer.attach(model, linear_probe(features(model, task.train, "layer1")))
    with pytest.raises(CourseError, match="above 0"):
        linear_probe(train, train, ())


def test_neighbours_equal_a_slow_loop():
    model, task = a_source(), a_task()
    bank, query = features(model, task.train), features(model, task.test)
    indices, similarity = transfer.neighbours(bank, query, 3)
    for row, vector in enumerate(query.values):
        cosines = [F.cosine_similarity(vector, v, dim=0).item() for v in bank.values]
        order = sorted(range(len(bank)), key=lambda i: -cosines[i])[:3]
        assert np.allclose(similarity[row], [cosines[i] for i in order], atol=1e-5)
        assert np.allclose(
            [cosines[i] for i in indices[row]], similarity[row], atol=1e-5
        )
    with pytest.raises(CourseError, match="from 1 to 24"):
        transfer.neighbours(bank, query, 25)


def test_the_vote_of_neighbours_equals_a_slow_count():
    def made(values, labels, kind="train"):
        labels = torch.tensor(labels)
        return transfer.Features(torch.tensor(values), labels, NAMES, kind, "made")

    bank = made([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0]], [0, 1, 1, 2])
    query = made([[1.0, -0.1], [0.1, 1.0]], [1, 2], "test")
    assert transfer.knn_accuracy(bank, query, k=3) == 0.5  # 1, 1 outvote 0; 2 loses
    assert transfer.knn_accuracy(bank, query, k=1) == 0.5  # 0 is nearest; 2 wins
    tied = made([[1.0, -0.1]], [0], "test")
    assert transfer.knn_accuracy(bank, tied, k=2) == 1.0  # one each: the nearer wins


# Frozen -----------------------------------------------------------------------------


def trained(model, batchnorm):
    model.network.requires_grad_(False)
    model.network.fc.requires_grad_(True)
    options = {"batchnorm": batchnorm, "device": "cpu", "progress": False}
    part = dataclasses.replace(a_part(TrainPart), class_names=SOURCE_NAMES)
    fit(model, part, RECIPE, **options)


def test_moving_statistics_in_a_frozen_backbone_are_found():
    model = a_source()
    with (
        pytest.raises(CourseError, match=r"bn1\.running_mean.*batchnorm=\"freeze\""),
        transfer.assert_frozen(model.network, besides=("fc",)),
    ):
        trained(model, "update")


def test_a_backbone_that_is_really_frozen_passes():
    model = a_source()
    with transfer.assert_frozen(model.network, besides=("fc",)):
        trained(model, "freeze")


def test_moved_parameters_are_found_and_an_error_inside_is_kept():
    network = a_source().network
    with (
        pytest.raises(CourseError, match=r"layer2\.0\.conv1\.weight \(1 in all\)"),
        transfer.assert_frozen(network),
        torch.no_grad(),
    ):
        network.layer2[0].conv1.weight[0, 0, 0, 0] += 1e-3
    with pytest.raises(KeyError), transfer.assert_frozen(network):
        raise KeyError


def test_fingerprints_name_parameters_and_buffers_and_see_one_bit():
    layer = nn.BatchNorm2d(2)
    before = transfer.fingerprint(layer)
    assert set(before) == set(layer.state_dict())
    layer.num_batches_tracked += 1
    after = transfer.fingerprint(layer)
    assert {k for k in before if before[k] != after[k]} == {"num_batches_tracked"}


# Strategies -------------------------------------------------------------------------

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
HEAD = {"fc.weight", "fc.bias"}


def moved_by(name):
    """Names of what differs after a strategy from right after its preparation."""
    source, task = a_source(), a_task()
    before = strategies.begin(STRATEGIES[name], source, Start(task.train, 0))
    hashes = transfer.fingerprint(transfer.merge_lora(before.network))
    after = transfer.fingerprint(run(name).model.network)
    assert hashes.keys() == after.keys()
    return {key for key in hashes if hashes[key] != after[key]}


def of_kind(*kinds):
    network = a_source().network
    affine = {
        f"{name}.{which}"
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for which in ("weight", "bias")
    }
    buffers = {name for name, _ in network.named_buffers()}
    parameters = {name for name, _ in network.named_parameters()}
    convolutions = {n for n in parameters - affine - HEAD if "downsample" not in n}
    groups = {
        "parameters": parameters,
        "statistics": buffers,
        "affine": affine,
        "3x3": convolutions,
        "head": HEAD,
    }
    return set().union(*(groups[kind] for kind in kinds))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("scratch", ("parameters", "statistics")),
        ("probe", ()),
        ("head", ("head",)),
        ("full", ("parameters", "statistics")),
        ("gradual", ("parameters",)),
        ("discriminative", ("parameters", "statistics")),
        ("lp-ft", ("parameters", "statistics")),
        ("lora", ("head", "3x3")),
    ],
)
def test_a_strategy_moves_exactly_what_it_says(name, kinds):
    moved, strategy = moved_by(name), STRATEGIES[name]
    assert moved == of_kind(*kinds)
    assert bool(moved & of_kind("statistics")) == (strategy.batchnorm == "update")
    assert bool(moved & of_kind("affine")) == strategy.affine
    assert ("statistics move" in strategy.batchnorm_sentence) == (
        strategy.batchnorm == "update"
    )


def test_every_strategy_is_known_by_its_own_name():
    assert [*STRATEGIES] == [s.name for s in STRATEGIES.values()]
    assert {s.start for s in STRATEGIES.values() if s.name != "scratch"} == {
        "pretrained"
    }


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_run_leaves_the_source_alone_and_a_seed_decides_everything(name):
    source, task = a_source(), a_task()
    options = {"part": "test", "device": "cpu", "progress": False}
    with transfer.assert_frozen(source.network):
        runs = [
            transfer.run(name, source, task, RECIPE, seed, **options) for seed in (1, 1)
        ]
    first, again = (transfer.fingerprint(r.model.network) for r in runs)
    assert first == again and runs[0].accuracy == runs[1].accuracy
    if name != "probe":
        assert first != transfer.fingerprint(run(name, seed=2).model.network)
    assert runs[0].model.class_names == NAMES
    assert runs[0].steps == (0 if name == "probe" else RECIPE.steps)


def test_the_accuracy_is_that_of_the_model_after_the_last_step():
    result = run("full", part="test")
    assert result.accuracy == evaluate(result.model, a_task().test, "cpu").accuracy
    assert run("full").accuracy is None
    with pytest.raises(CourseError, match="Unknown part 'train'"):
        run("full", part="train")


def test_the_number_of_trained_parameters_is_what_could_move():
    head = sum(p.numel() for p in models.resnet10(3, width=4).fc.parameters())
    every = sum(p.numel() for p in models.resnet10(3, width=4).parameters())
    for name, count in {"head": head, "probe": head, "full": every}.items():
        assert run(name).trained_parameters == count
    assert run("gradual").trained_parameters == every
    assert head < run("lora").trained_parameters < every


def test_scratch_keeps_nothing_of_the_source_and_is_drawn_like_a_fresh_network():
    source, task = a_source(), a_task()
    start = strategies.begin(STRATEGIES["scratch"], source, Start(task.train, 0))
    tensors = start.network.state_dict()
    for name, value in source.network.state_dict().items():
        if value.ndim == 4:
            assert not torch.equal(tensors[name], value)
            assert 0.5 < (tensors[name].std() / value.std()).item() < 2
        if name.endswith("running_mean"):
            assert not tensors[name].any()


def test_a_layer_that_cannot_be_started_anew_is_refused():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(2))

    with pytest.raises(CourseError, match="from scratch"):
        strategies.reinitialise(Odd(), seed=0)


def test_gradual_opens_from_the_head_downwards_with_the_quarters():
    network = models.replace_head(a_source(), NAMES).network
    opened = []
    for step in range(8):
        strategies.unfreeze_from_the_head(step, 8, network)
        found = transfer.stages(network)
        opened.append(
            [n for n, ps in found.items() if all(p.requires_grad for p in ps)]
        )
    assert [*transfer.stages(network)] == [
        *("stem", "layer1", "layer2", "layer3", "layer4", "head")
    ]
    assert opened[0] == opened[1] == ["head"]
    assert opened[2] == opened[3] == ["layer4", "head"]
    assert opened[4] == opened[5] == ["layer3", "layer4", "head"]
    assert opened[6] == opened[7] == [*transfer.stages(network)]


def test_gradual_moves_nothing_before_its_turn():
    source, task = a_source(), a_task()
    model = strategies.begin(STRATEGIES["gradual"], source, Start(task.train, 0))
    before = transfer.fingerprint(model.network)
    seen = {}

    def watch(row):
        now = transfer.fingerprint(model.network)
        seen[row["step"]] = {k.split(".")[0] for k in now if now[k] != before[k]}

    fit(
        model,
        task.train,
        RECIPE,
        batchnorm="freeze",
        device="cpu",
        progress=False,
        before_step=lambda step, n: strategies.unfreeze_from_the_head(step, 4, n),
        after_step=watch,
    )
    assert seen[1] == {"fc"}
    assert seen[2] == {"fc", "layer4"}
    assert seen[3] == {"fc", "layer4", "layer3"}


def test_discriminative_rates_fall_towards_the_input():
    network = a_source().network
    groups = STRATEGIES["discriminative"].groups(network)
    trainer = Trainer(network, RECIPE, groups=lambda _: groups, device="cpu")
    scales = [group["scale"] for group in trainer.optimiser.param_groups]
    assert scales == [strategies.DECAY**depth for depth in range(6)]
    assert groups[0]["params"][0] is network.fc.weight
    assert groups[-1]["params"][0] is network.conv1.weight
    held = sum(p.numel() for group in groups for p in group["params"])
    assert held == sum(p.numel() for p in network.parameters())


def test_lp_ft_starts_where_the_probe_ended():
    source, task = a_source(), a_task()
    model = strategies.begin(STRATEGIES["lp-ft"], source, Start(task.train, 0))
    probe = run("probe").model
    images = task.test.images
    assert torch.allclose(model.logits(images), probe.logits(images), atol=1e-5)
    assert all(p.requires_grad for p in model.network.parameters())


def test_lora_leaves_a_plain_network():
    network = run("lora").model.network
    assert network.state_dict().keys() == a_source().network.state_dict().keys()


def test_a_strategy_of_ones_own_can_be_run():
    own = dataclasses.replace(
        STRATEGIES["full"], name="full, frozen statistics", batchnorm="freeze"
    )
    after = transfer.fingerprint(run(own).model.network)
    before = transfer.fingerprint(a_source().network)
    kept = {key for key in before if before[key] == after[key]}
    assert kept == of_kind("statistics")


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5", "ours"])
def test_the_head_turns_what_it_is_given_into_the_logits(name):
    from torchvision import models as zoo

    model = a_source()
    if name != "ours":
        model = dataclasses.replace(model, network=zoo.get_model(name, weights=None))
    images = a_task().test.images[:5]
    given = transfer.before_head(model, images)
    with torch.no_grad():
        logits = models.head_of(model.network)[1](given.values)
    assert torch.allclose(logits, model.logits(images), atol=1e-5)


def test_what_the_head_is_given_is_the_feature_before_it_and_known_to_other_heads():
    model, part = a_source(), a_task().test
    given = transfer.before_head(model, part)
    same = transfer.features(model, part, "flatten")
    assert torch.equal(given.values, same.values) and given.kind == "test"
    other = models.replace_head(model, ("a", "b", "c"), seed=3)
    kept = len(extraction._MEMORY.kept)
    assert torch.equal(transfer.before_head(other, part).values, given.values)
    assert len(extraction._MEMORY.kept) == kept
    with torch.no_grad():
        other.network.conv1.weight.mul_(1.5)
    changed = transfer.before_head(other, part).values
    assert not torch.equal(changed, given.values)


# The comparison ---------------------------------------------------------------------


def test_a_comparison_gives_everybody_the_same_steps_subsets_and_seeds(monkeypatch):
    seen = []

    def watched(model, part, recipe, **options):
        seen.append((part.fingerprint(), recipe.steps, recipe.batch, options["seed"]))
        return fit(model, part, recipe, **options)

    monkeypatch.setattr(transfer, "fit", watched)
    found = compare(("full", "scratch"), labels=(1, 2))
    half = len(seen) // 4  # labels × strategies: two trials and two runs each
    assert half == 4
    blocks = [seen[i : i + 4] for i in range(0, len(seen), 4)]
    assert blocks[0] == blocks[1] and blocks[2] == blocks[3] and blocks[0] != blocks[2]
    assert {row["steps"] for row in found.rows} == {RECIPE.steps}
    apart = {seed for *_, seed in blocks[0][:2]}
    assert not apart & {0, 1} and len({part for part, *_ in blocks[0]}) == 3


def test_rows_hold_what_was_measured():
    found = compare(("head", "probe"), seeds=(4, 0))
    assert [(r["strategy"], r["seed"]) for r in found.rows] == [
        ("head", 4),
        ("head", 0),
        ("probe", 4),
        ("probe", 0),
    ]
    for row in found.rows:
        assert set(row) == {
            *("strategy", "labels", "seed", "rate", "accuracy", "seconds"),
            *("trained_parameters", "steps"),
        }
    assert found.of("head") == [row["accuracy"] for row in found.rows[:2]]
    assert {r["rate"] for r in found.rows if r["strategy"] == "probe"} <= {*transfer.CS}


def test_a_row_is_what_run_gives_for_that_subset_seed_and_rate():
    row = compare(("full",), seeds=(5, 6)).rows[0]
    recipe = dataclasses.replace(RECIPE, rate=row["rate"])
    options = {"part": "test", "device": "cpu", "progress": False}
    few = a_task().few_shot(2, 5)
    again = transfer.run("full", a_source(), few, recipe, 5, **options)
    assert again.accuracy == row["accuracy"]


def test_the_same_comparison_twice_gives_the_same_numbers():
    def plain(rows):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    first, again = compare(("lora", "lp-ft")), compare(("lora", "lp-ft"))
    assert plain(first.rows) == plain(again.rows) and first.search == again.search


def test_rates_are_chosen_on_validation_images_whatever_the_test_images_are(
    monkeypatch,
):
    asked = []

    def watched(result, part, device="auto"):
        asked.append(part.kind)
        return original(result, part, device)

    original = transfer.accuracy_on
    monkeypatch.setattr(transfer, "accuracy_on", watched)
    first = compare(("full", "probe"))
    assert (
        asked == ["validation"] * 2 + ["test"] * 2 + ["validation"] * 4 + ["test"] * 2
    )
    other = a_task(seed=77)
    wrong = dataclasses.replace(other.test, labels=(other.test.labels + 1) % 3)
    second = compare(("full", "probe"), dataclasses.replace(other, test=wrong))
    assert first.search == second.search
    assert [r["rate"] for r in first.rows] == [r["rate"] for r in second.rows]
    assert first.of("probe") != second.of("probe")


def test_a_test_part_can_be_neither_trained_nor_chosen_on():
    task, source = a_task(), a_source()
    with pytest.raises(HeldOutError):
        transfer.choose_rate(
            "full", source, task.train, task.test, RECIPE, (1e-3, 1e-2), 0
        )
    with pytest.raises(HeldOutError):
        transfer.choose_rate(
            "probe", source, task.test, task.validation, RECIPE, (1, 2), 0
        )


def test_of_equal_rates_the_smaller_wins_and_a_diverged_one_loses(monkeypatch):
    def scripted(model, part, recipe, **options):
        if recipe.rate == 1e-4:
            raise TrainingDiverged("The loss became nan.")
        return fit(model, part, recipe, **options)

    monkeypatch.setattr(transfer, "fit", scripted)
    monkeypatch.setattr(transfer, "accuracy_on", lambda *_: 0.5)
    task = a_task()
    trials = transfer.choose_rate(
        "full", a_source(), task.train, task.validation, RECIPE, (1e-2, 1e-4, 1e-3), 0
    )
    assert trials == [(1e-3, 0.5), (1e-2, 0.5), (1e-4, 0.0)]


def test_a_probe_needs_the_features_of_the_test_images_once(passes):
    compare(("probe",), labels=(1, 2), seeds=(0, 1, 2))
    # two subsets of each number for every seed and the choice, validation, test
    assert len(passes) == 2 * 4 + 2


def a_comparison(**accuracies):
    rows = [
        {
            **{"strategy": name, "labels": 5, "seed": seed, "accuracy": value},
            **{"rate": 1e-3, "seconds": 1.0, "trained_parameters": 7, "steps": 4},
        }
        for name, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    search = [
        {"strategy": name, "labels": 5, "rate": rate, "accuracy": 0.5}
        for name in accuracies
        for rate in (1e-4, 1e-3)
    ]
    count = len(next(iter(accuracies.values())))
    return transfer.Comparison("digits", rows, search, RECIPE, (*range(count),), 300)


def test_the_difference_is_paired_and_its_interval_is_students():
    found = a_comparison(a=(0.9, 0.8, 0.7), b=(0.8, 0.6, 0.6))
    mean, low, high = found.difference("a", "b")
    assert mean == pytest.approx(0.4 / 3)
    half = 2.919986 * np.std([0.1, 0.2, 0.1], ddof=1) / 3**0.5
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=1e-6)


def test_sentences_say_who_won_and_when_nobody_did():
    found = a_comparison(a=(0.9, 0.8, 0.7), b=(0.8, 0.6, 0.6), c=(0.1, 0.99, 0.7))
    won = found.sentence("b", "a")
    assert "5 labelled images a class, a reached 0.800 and b 0.667" in won
    assert "do not tell them apart" not in won
    assert "do not tell them apart" in found.sentence("a", "c")
    assert "one seed" in a_comparison(a=(0.9,), b=(0.8,)).sentence("a", "b")
    fair = found.fairness()
    for said in ("4 steps of 6", "300 validation images", "3 seeds", "last step"):
        assert said in fair
    assert "At the edge of what was tried: the choice for a, b, c." in fair


def test_the_summary_has_mean_spread_and_cost():
    found = a_comparison(a=(0.9, 0.8, 0.7), b=(0.8, 0.6, 0.6))
    first, second = found.summary()
    assert (first["strategy"], second["strategy"]) == ("a", "b")
    assert first["mean"] == pytest.approx(0.8) and first["spread"] == pytest.approx(0.1)
    assert first["trained_parameters"] == 7 and first["seeds"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ()}, "one or more"),
        ({"names": "full"}, "a list or a tuple"),
        ({"names": ("ful",)}, "Did you mean 'full'"),
        ({"names": ("full", "full")}, "each of them once"),
        ({"names": ("head", STRATEGIES["head"])}, "one name"),
        ({"seeds": ()}, "one or more"),
        ({"labels": (99,)}, "few-shot split of 99"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(CourseError, match=message):
        compare(**options)


def test_what_was_not_compared_is_named():
    found = a_comparison(a=(0.9, 0.8), b=(0.8, 0.6))
    with pytest.raises(CourseError, match="strategy of this comparison 'd'"):
        found.of("d")
    with pytest.raises(CourseError, match="expected one of 5"):
        found.of("a", 6)
