"""Smaller networks: what is stored, what is removed, what a student is taught."""

import copy
import functools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18, resnet50

from course import compress, cost, data, evidence, models, training
from course.errors import CourseError, HeldOutError
from course.exercises import when_it_hurts

NAMES = ("a", "b", "c")


def drawn(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, 64, 64)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def part_of(count, kind=data.TrainPart):
    return kind(drawn(count), torch.arange(count) % 3, NAMES)


@pytest.fixture(scope="module")
def model():
    """A narrow resnet10 whose BatchNorms are as unlike as after training."""
    found = models.fresh(NAMES, 0, width=8)
    generator = torch.Generator().manual_seed(1)
    for norm in found.network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for value, low in ((norm.weight, 0.1), (norm.running_var, 0.5)):
                value.data.uniform_(low, 2.0, generator=generator)
            for value in (norm.bias, norm.running_mean):
                value.data.uniform_(-0.5, 0.5, generator=generator)
    found.network.eval()
    return found


# Eight bits ---------------------------------------------------------------------------


def test_a_weight_is_at_most_half_a_step_off_and_every_channel_uses_all_steps():
    weight = torch.randn(6, 5, 3, 3) * 3.0 ** torch.arange(6.0)[:, None, None, None]
    values, scale = compress.quantise(weight)
    assert values.dtype == torch.int8 and values.shape == weight.shape
    assert values.flatten(1).abs().amax(dim=1).tolist() == [127] * 6
    error = (compress.dequantise(values, scale) - weight).abs().flatten(1)
    assert (error <= 0.5001 * scale[:, None]).all()
    assert error.max() > 0.4 * scale.max()  # and it is not there for nothing


def test_a_channel_of_zeros_stays_one():
    values, scale = compress.quantise(torch.zeros(2, 3, 3, 3))
    assert not values.any() and torch.isfinite(scale).all()


def test_quantise_agrees_with_the_exercise_of_the_chapter():
    weight = torch.randn(4, 3, 3, 3)
    for one, other in zip(
        compress.quantise(weight), when_it_hurts.quantise.reference(weight), strict=True
    ):
        assert torch.equal(one, other)


def test_folding_batchnorm_changes_nothing_but_rounding(model):
    images = torch.randn(4, 3, 64, 64).double()
    network = copy.deepcopy(model.network).double()
    folded = compress.folded(network)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        assert torch.allclose(folded(images), network(images), atol=1e-9)


@pytest.mark.parametrize("build", [resnet18, resnet50])
def test_torchvisions_resnets_can_be_folded_too(build):
    with models.seeded(0):
        network = build(num_classes=3).double().eval()
    images = torch.randn(1, 3, 64, 64).double()
    with torch.no_grad():
        difference = (compress.folded(network)(images) - network(images)).abs().max()
    assert difference < 1e-9


def test_int8_weights_are_a_quarter_of_the_bytes_and_answer_nearly_alike(model):
    small = compress.int8_weights(model)
    ratio = cost.file_bytes(small.network) / cost.file_bytes(model.network)
    assert 0.25 < ratio < 0.4  # a narrow network has much besides convolutions
    images = drawn(8)
    before, after = model.logits(images), small.logits(images)
    spread = before.std()
    assert 0 < (before - after).abs().max() < 0.1 * spread
    stored = [v for v in small.network.state_dict().values() if v.dtype == torch.int8]
    convolutions = [m for m in model.network.modules() if isinstance(m, nn.Conv2d)]
    assert len(stored) == len(convolutions) == 12
    assert sum(v.numel() for v in stored) == sum(c.weight.numel() for c in convolutions)


def test_a_readers_own_quantise_is_used(model):
    def one_bit(weight):
        size = weight.abs().mean(dim=(1, 2, 3))
        return weight.sign().to(torch.int8), size

    images = drawn(4)
    before = model.logits(images)
    crude = compress.int8_weights(model, one_bit).logits(images)
    fine = compress.int8_weights(model).logits(images)
    assert (crude - before).abs().mean() > 10 * (fine - before).abs().mean()


@pytest.mark.parametrize("inputs", [(0.0, 3.0), (-1.0, 2.5)])
def test_integer_arithmetic_is_the_slow_formula(inputs):
    with models.seeded(3):
        conv = nn.Conv2d(2, 3, 3, stride=2, padding=1)
        x = torch.rand(1, 2, 5, 5) * (inputs[1] - inputs[0]) + inputs[0]
    layer = compress.Int8Conv2d(conv, inputs, kernel=False)
    step = (inputs[1] - inputs[0]) / 255
    zero = round(-inputs[0] / step)
    counts = (x / step).round().long() + zero
    assert counts.min() >= 0 and counts.max() <= 255
    padded = F.pad(counts - zero, [1] * 4)  # padding is zero, and zero is a level
    expected = torch.empty(1, 3, 3, 3)
    for channel in range(3):
        for row in range(3):
            for column in range(3):
                window = padded[
                    0, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3
                ]
                total = (window * layer.values[channel].long()).sum()
                scaled = total * step * layer.scale[channel] + conv.bias[channel]
                expected[0, channel, row, column] = scaled
    assert torch.allclose(layer(x), expected, atol=1e-4)


def test_int8_arithmetic_answers_nearly_alike_from_one_byte_a_weight(model):
    images = drawn(12, seed=5)
    small = compress.int8_arithmetic(model, part_of(16))
    difference = (small.logits(images) - model.logits(images)).abs().max()
    assert 0 < difference < 0.3 * model.logits(images).std()
    assert cost.file_bytes(small.network) < 0.4 * cost.file_bytes(model.network)


def test_the_range_is_that_of_all_images_and_not_of_the_last_batch(model):
    images = torch.full((models.BATCH + 2, 3, 64, 64), 128, dtype=torch.uint8)
    images[0], images[1] = 0, 255
    part = data.TrainPart(images, torch.zeros(len(images), dtype=torch.int64), NAMES)
    stem = compress.int8_arithmetic(model, part).network.conv1
    low, high = (v.item() for v in model.preprocess(images).aminmax())
    assert stem.step == pytest.approx((high - low) / 255)
    assert stem.zero == round(-low / stem.step)


def test_int8_instructions_give_the_answers_of_the_imitation(model):
    if not compress.int8_kernel():
        pytest.skip("this torch has no int8 convolution for this processor")
    fast = compress.int8_arithmetic(model, part_of(16))
    slow = compress.int8_arithmetic(model, part_of(16), kernel=False)
    images = drawn(12, seed=5)
    scale = slow.logits(images).std()
    # A value half-way between two levels may fall to either side.
    assert (fast.logits(images) - slow.logits(images)).abs().max() < 0.05 * scale
    picture = torch.zeros(1, 3, 64, 64)
    counted = {cost.multiply_adds(m.network, picture) for m in (model, fast, slow)}
    assert len(counted) == 1


def test_without_the_instructions_the_integers_are_imitated(model, monkeypatch):
    monkeypatch.setattr(compress, "int8_kernel", lambda: False)
    layers = compress.int8_arithmetic(model, part_of(4)).network.modules()
    layers = [m for m in layers if isinstance(m, compress.Int8Conv2d)]
    assert len(layers) == 12 and not any(layer.kernel for layer in layers)


def test_an_autocast_does_not_round_the_integers():
    with models.seeded(0):
        conv = nn.Conv2d(64, 8, 3, bias=False)
    layer = compress.Int8Conv2d(conv, (0.0, 1.0), kernel=False)
    x = torch.rand(1, 64, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = layer(x)
    assert torch.equal(inside, layer(x))


def test_an_int8_network_can_be_copied_and_saved(model):
    small = compress.int8_arithmetic(model, part_of(4))
    images = drawn(2)
    small.logits(images)  # what the instructions need is made by now
    assert torch.equal(small.copy().logits(images), small.logits(images))
    assert cost.file_bytes(small.network) == cost.file_bytes(small.copy().network)


def test_a_test_part_chooses_no_range(model):
    for make in (compress.int8_arithmetic, compress.with_torchao):
        with pytest.raises(HeldOutError, match="range"):
            make(model, part_of(3, data.TestPart))


def test_torchao_is_optional_and_its_absence_one_sentence(model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchao", None)
    with pytest.raises(CourseError, match="pip install torchao"):
        compress.with_torchao(model, part_of(4), batch=2)
    with pytest.raises(CourseError, match="expected 8 or more"):
        compress.with_torchao(model, part_of(4), batch=8)


def test_torchao_answers_as_our_own_int8_does(model):
    pytest.importorskip("torchao", reason="torchao is optional")
    network = compress.with_torchao(model, part_of(8), batch=4)
    with torch.no_grad():
        logits = network(model.preprocess(drawn(4)))
    difference = (logits - model.logits(drawn(4))).abs().max()
    assert difference < 0.3 * model.logits(drawn(4)).std()


# Pruning ------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", compress.CRITERIA)
def test_a_pruned_network_is_the_original_with_those_channels_silent(model, criterion):
    double = model.copy()
    double.network.double()
    kept = compress.kept_channels(double, 0.5, criterion, seed=2)
    pruned = compress.without(double, kept)
    silent = double.copy()
    for name, channels in kept.items():
        norm = silent.network.get_submodule(name).bn1
        gone = torch.ones(len(norm.weight), dtype=torch.bool)
        gone[channels] = False
        norm.weight.data[gone] = 0
        norm.bias.data[gone] = 0
    images = torch.randn(3, 3, 64, 64).double()
    with torch.no_grad():
        expected = silent.network(images)
        assert torch.allclose(pruned.network(images), expected, atol=1e-9)
        assert not torch.allclose(expected, double.network(images), atol=1e-3)


def test_the_channels_with_the_lowest_scores_go(model):
    kept = compress.kept_channels(model, 0.25)
    for name, channels in kept.items():
        scale = model.network.get_submodule(name).bn1.weight.abs()
        gone = sorted(set(range(len(scale))) - set(channels.tolist()))
        assert len(gone) == len(scale) // 4
        assert scale[gone].max() <= scale[channels].min()


def test_filters_are_scored_by_the_sum_of_their_weights(model):
    block = model.network.layer1[0]
    scores = compress.by_filter(block, None)
    assert scores[3].item() == pytest.approx(
        sum(abs(w) for w in block.conv1.weight[3].flatten().tolist()), rel=1e-5
    )


def test_pruning_saves_work_and_bytes_and_leaves_the_original_alone(model):
    before = copy.deepcopy(model.network.state_dict())
    pruned = compress.prune(model, 0.5)
    picture = torch.zeros(1, 3, 64, 64)
    work = cost.multiply_adds(pruned.network, picture)
    assert work < 0.6 * cost.multiply_adds(model.network, picture)
    assert cost.file_bytes(pruned.network) < 0.6 * cost.file_bytes(model.network)
    assert {b.conv1.out_channels for b in [pruned.network.layer2[0]]} == {8}
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name])


def test_chance_is_the_same_for_the_same_seed_and_another_for_another(model):
    first, same, other = (
        compress.kept_channels(model, 0.5, "random", seed)["layer4.0"].tolist()
        for seed in (0, 0, 1)
    )
    assert first == same != other


def test_a_pruned_network_can_be_trained_further_and_pruned_again(model):
    pruned = compress.prune(model, 0.5)
    recipe = training.Recipe(2, batch=4)
    options = {"device": "cpu", "progress": False}
    history = training.fit(pruned, part_of(6), recipe, **options)
    assert len(history.rows) == 2
    assert compress.prune(pruned, 0.5).network.layer1[0].conv1.out_channels == 2
    with models.seeded(0):
        wide = models.Model(resnet18(num_classes=3), model.preprocess, NAMES)
    assert compress.prune(wide, 0.5).network.layer4[1].conv1.out_channels == 256


def test_nothing_is_pruned_at_a_share_of_zero_and_one_channel_always_stays(model):
    images = drawn(2)
    whole = compress.prune(model, 0.0).logits(images)
    assert torch.allclose(whole, model.logits(images), atol=1e-5)
    assert compress.prune(model, 0.99).network.layer1[0].conv1.out_channels == 1


def test_what_cannot_be_pruned_is_said_in_one_sentence(model):
    with pytest.raises(CourseError, match="Did you mean 'batchnorm'"):
        compress.prune(model, 0.5, "bachnorm")
    for share in (1.0, -0.1):
        with pytest.raises(CourseError, match="expected 0 to below 1"):
            compress.prune(model, share)
    plain = models.Model(nn.Sequential(nn.Linear(2, 3)), model.preprocess, NAMES)
    with pytest.raises(CourseError, match="BasicBlocks"):
        compress.prune(plain, 0.5)
    with pytest.raises(CourseError, match="expected a ResNet"):
        compress.int8_weights(plain)
    with pytest.raises(CourseError, match="empty"):
        compress.int8_arithmetic(model, part_of(0))


# Distillation -------------------------------------------------------------------------


def test_the_distillation_loss_is_the_slow_formula():
    student, teacher = torch.randn(4, 5), torch.randn(4, 5)
    for temperature in (0.5, 1.0, 4.0):
        total = 0.0
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
            p, q = ([math.exp(z / temperature) for z in row] for row in (t, s))
            p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
            total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        found = compress.distillation_loss(student, teacher, temperature)
        assert found.item() == pytest.approx(temperature**2 * total / 4, rel=1e-4)


def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn():
    logits = torch.randn(4, 5)
    assert compress.distillation_loss(logits, logits, 3.0).abs() < 1e-6
    shifted = compress.distillation_loss(logits + 2, logits, 3.0)  # softmax ignores it
    assert shifted.abs() < 1e-5


def test_the_gradient_keeps_its_size_at_a_high_temperature():
    teacher = 0.1 * torch.randn(4, 5)
    sizes = []
    for temperature in (10.0, 40.0):
        student = torch.zeros(4, 5, requires_grad=True)
        compress.distillation_loss(student, teacher, temperature).backward()
        sizes.append(student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


OPTIONS = {"device": "cpu", "progress": False}
RECIPE = training.Recipe(12, batch=6, rate=1e-2)


def agreement(student, teacher, images):
    found, wanted = (m.logits(images) for m in (student, teacher))
    return compress.distillation_loss(found, wanted).item()


def test_a_student_comes_to_answer_as_its_teacher_whatever_the_labels_say(model):
    part = part_of(6)
    wrong = data.TrainPart(part.images, (part.labels + 1) % 3, NAMES)
    students = []
    for lesson in (part, wrong):
        student = models.fresh(NAMES, 1, width=4)
        before = agreement(student, model, part.images)
        compress.distil(student, model, lesson, RECIPE, **OPTIONS)
        assert agreement(student, model, part.images) < 0.5 * before
        students.append(student)
    assert torch.equal(*(student.logits(part.images) for student in students))


def test_distilling_leaves_the_teacher_alone_and_is_the_same_each_time(model):
    before = copy.deepcopy(model.network.state_dict())
    results = []
    for seed in (0, 0, 1):
        student = models.fresh(NAMES, 1, width=4)
        short = training.Recipe(3, batch=4, rate=1e-2, augment="shift")
        history = compress.distil(
            student, model, part_of(8), short, seed=seed, **OPTIONS
        )
        results.append(history.column("loss"))
    assert results[0] == results[1] != results[2]
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name])


def test_what_cannot_be_distilled_is_said_in_one_sentence(model):
    student = models.fresh(NAMES, 1, width=4)
    with pytest.raises(HeldOutError, match="distillation"):
        compress.distil(student, model, part_of(3, data.TestPart), RECIPE)
    with pytest.raises(CourseError, match="empty"):
        compress.distil(student, model, part_of(0), RECIPE)
    with pytest.raises(CourseError, match="temperature above 0"):
        compress.distil(student, model, part_of(3), RECIPE, temperature=0.0)
    other = models.fresh(("x", "y"), 1, width=4)
    with pytest.raises(CourseError, match=r"2 classes .* 3 at"):
        compress.distil(other, model, part_of(3), RECIPE)


# The chapter's claims, and what breaks them -------------------------------------------


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(evidence, "_show", lambda bundle: None)
    evidence.begin("quick")


@pytest.fixture(scope="module")
def letters():
    return models.load("resnet10-glyphs")


@pytest.fixture(scope="module")
def glyphs():
    return data.task("glyphs", train=40, validation=1, test=100)


@functools.cache  # a model is known by its identity, and asked more than once
def right(model, part):
    return (model.logits(part.images).argmax(dim=1) == part.labels).float().mean()


def lost(model, letters, glyphs):
    return float(right(letters, glyphs.test) - right(model, glyphs.test))


def cut_towards_zero(weight):
    values, scale = compress.quantise(weight)
    return (values // 32) * 32, scale  # three bits


def without_abs(weight):
    scale = weight.amax(dim=(1, 2, 3)) / 127
    steps = (weight / scale[:, None, None, None]).round().int()
    return ((steps + 128) % 256 - 128).to(torch.int8), scale


def test_int8_loses_little_and_a_wrong_quantisation_does_not(letters, glyphs):
    text, most = "int8 costs little accuracy", {"at_most": 0.02}
    for small in (
        compress.int8_weights(letters),
        compress.int8_arithmetic(letters, glyphs.train),
    ):
        evidence.claim(text, lost(small, letters, glyphs), **most)
        ratio = cost.file_bytes(small.network) / cost.file_bytes(letters.network)
        evidence.claim("a quarter of the bytes", ratio, at_most=0.27)
    for wrong in (cut_towards_zero, without_abs):
        small = compress.int8_weights(letters, wrong)
        with pytest.raises(evidence.ClaimError):
            evidence.claim(text, lost(small, letters, glyphs), **most)


def test_a_range_that_forgets_what_is_negative_breaks_int8(
    letters, glyphs, monkeypatch
):
    monkeypatch.setattr(compress, "_grid", lambda low, high: (high / 255, 0))
    small = compress.int8_arithmetic(letters, glyphs.train)
    with pytest.raises(evidence.ClaimError):
        evidence.claim("little", lost(small, letters, glyphs), at_most=0.02)


def test_batchnorms_scale_beats_chance_and_its_opposite_does_not(
    letters, glyphs, monkeypatch
):
    monkeypatch.setitem(
        compress.CRITERIA, "opposite", lambda block, _: -block.bn1.weight.detach().abs()
    )
    by_chance = [
        lost(compress.prune(letters, 0.4, "random", seed), letters, glyphs)
        for seed in range(3)
    ]

    def better(criterion):
        chosen = lost(compress.prune(letters, 0.4, criterion), letters, glyphs)
        return [chance - chosen for chance in by_chance]

    evidence.claim("better than chance", better("batchnorm"), at_least=0.05)
    with pytest.raises(evidence.ClaimError):
        evidence.claim("better than chance", better("opposite"), at_least=0.05)


@pytest.fixture(scope="module")
def lesson(letters):
    """A teacher of digits, few labelled scans, and what those alone teach a student."""
    digits = data.task("digits", train=300, test=200)
    few = digits.few_shot(3, 0).train
    recipe = training.Recipe(30, batch=16, rate=3e-3, augment="shift")
    teacher = models.replace_head(letters, digits.class_names, 0)
    training.fit(teacher, few, recipe, **OPTIONS)
    student = models.fresh(digits.class_names, 0, width=16)
    training.fit(student, few, LONG, **OPTIONS)
    return digits, teacher, float(right(student, digits.test))


LONG = training.Recipe(60, batch=16, rate=1e-2, augment="shift")


def gain(lesson, recipe=LONG):
    digits, teacher, alone = lesson
    student = models.fresh(digits.class_names, 0, width=16)
    compress.distil(student, teacher, digits.train, recipe, **OPTIONS)
    return float(right(student, digits.test)) - alone


def test_answers_on_unlabelled_scans_teach_more_than_few_labels(lesson):
    evidence.claim("a student learns more", gain(lesson), at_least=0)


def test_answers_to_other_scans_teach_nothing(lesson, monkeypatch):
    def misplaced(student, teacher, temperature):
        return original(student, teacher.roll(1, dims=0), temperature)

    original = compress.distillation_loss
    monkeypatch.setattr(compress, "distillation_loss", misplaced)
    value = gain(lesson, training.Recipe(20, batch=16, rate=1e-2))
    with pytest.raises(evidence.ClaimError):
        evidence.claim("a student learns more", value, at_least=0)
