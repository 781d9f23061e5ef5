"""Smaller and faster copies of a model: int8, pruning, distillation (chapter 06)."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock, ResNet

from course.arguments import kinds_checked
from course.data.tasks import Part, TrainPart, forbid_test
from course.errors import CourseError, unknown
from course.models import Model
from course.training import History, Recipe, Shuffled, Trainer, train_on

STEPS = 127  # int8 from -127 to 127: -128 is left out, so that zero is the middle
LEVELS = 255  # of what goes into a convolution, uint8
Quantise = Callable[[Tensor], tuple[Tensor, Tensor]]


# Eight bits a weight ----------------------------------------------------------------


@kinds_checked
def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 values and a scale for each output channel (chapter 06).

    Symmetric: a weight is about its value times the scale of its channel, at most half
    a scale off (Krishnamoorthi 2018, arXiv 1806.08342).

    Args:
        weight: float (out, …).

    Returns:
        int8 of the weight's shape, and float32 (out,).
    """
    largest = weight.detach().flatten(1).abs().amax(dim=1)
    scale = largest.clamp_min(1e-12) / STEPS  # a channel of zeros stays one
    steps = weight.detach() / _spread(scale, weight)
    return steps.round().clamp(-STEPS, STEPS).to(torch.int8), scale


def dequantise(values: Tensor, scale: Tensor) -> Tensor:
    """Return the float weights that int8 values and their scales stand for."""
    return values * _spread(scale, values)


def _spread(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (weight.ndim - 1))


class Int8Conv2d(nn.Module):
    """A convolution whose weights are stored as int8 (chapter 06).

    Without the range of its inputs it is computed in floating point, with the weights
    made anew in each call. With the range it computes with integers: what comes in
    becomes uint8, products of integers are summed, and one scale a channel makes
    numbers of the sums.

    Args:
        conv: a convolution, with zeros as its padding.
        inputs: the lowest and the highest value that comes in; None for floating point.
        kernel: use the processor's int8 instructions where torch offers them;
            otherwise the same integers are multiplied as floats, which is no faster.
        quantise: from a weight to int8 values and scales.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        inputs: tuple[float, float] | None = None,
        *,
        kernel: bool = True,
        quantise: Quantise = quantise,
    ) -> None:
        super().__init__()
        values, scale = quantise(conv.weight.detach().contiguous())
        self.values = nn.Parameter(values, requires_grad=False)
        self.register_buffer("scale", scale.float())
        self.bias = conv.bias
        self.how = (conv.stride, conv.padding, conv.dilation, conv.groups)
        self.step, self.zero = (None, 0) if inputs is None else _grid(*inputs)
        self.kernel = kernel and inputs is not None and int8_kernel()
        self.packed: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot be copied; the next call makes it anew."""
        return {**self.__dict__, "packed": None}

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x, float (N, in, H, W)."""
        if self.step is None:
            weight = dequantise(self.values, self.scale).to(x.dtype)
            return F.conv2d(x, weight, self.bias, *self.how)
        # Integers above 256 are not exact in the bfloat16 of an autocast.
        with torch.autocast(x.device.type, enabled=False):
            counts = (x.float() / self.step).round_().add_(self.zero).clamp_(0, LEVELS)
            if self.kernel and x.device.type == "cpu":
                return _with_kernel(self, counts)
            sums = F.conv2d(counts - self.zero, self.values.float(), None, *self.how)
            return _finished(sums, self.step * self.scale, self.bias)


def _finished(sums: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    scaled = sums * scale[:, None, None]
    return scaled if bias is None else scaled + bias[:, None, None]


def _grid(low: float, high: float) -> tuple[float, int]:
    """Return the step between uint8 levels, and the level that stands for zero."""
    low, high = min(low, 0.0), max(high, 0.0)  # padding is zero: it needs a level
    step = max(high - low, 1e-12) / LEVELS
    return step, round(-low / step)


# The operators behind torch's own int8 convolutions on CPUs (those that torchao's PT2E
# is lowered to). They are not promised to stay, hence the try-out in `int8_kernel`.


def _packed(conv: Int8Conv2d) -> Tensor:
    stride, padding, dilation, groups = conv.how
    return torch.ops.onednn.qconv_prepack(
        conv.values.detach(),
        conv.scale,
        conv.step,
        conv.zero,
        list(stride),
        list(padding),
        list(dilation),
        groups,
        None,
    )


def _with_kernel(conv: Int8Conv2d, counts: Tensor) -> Tensor:
    stride, padding, dilation, groups = conv.how
    if conv.packed is None:
        conv.packed = _packed(conv)
    return torch.ops.onednn.qconv2d_pointwise(
        counts.to(torch.uint8).contiguous(memory_format=torch.channels_last),
        conv.step,
        conv.zero,
        conv.packed,
        conv.scale,
        torch.zeros_like(conv.scale, dtype=torch.int32),
        conv.bias,
        list(stride),
        list(padding),
        list(dilation),
        groups,
        1.0,
        0,
        torch.float32,
        "none",
        [],
        "",
    )


@functools.cache
def int8_kernel() -> bool:
    """Say whether this torch multiplies int8 on this processor, and rightly so.

    A small convolution is computed with and without; anything that goes wrong is a no.
    """
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, padding=1, bias=False).requires_grad_(False)
    conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator))
    images = torch.randn(2, 4, 8, 8, generator=generator)
    conv = Int8Conv2d(conv, (-4.0, 4.0), kernel=False)
    try:
        expected = conv(images)
        conv.kernel = True
        return torch.allclose(conv(images), expected, atol=1e-3)
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False


def folded(network: nn.Module) -> nn.Module:
    """Return a copy whose BatchNorms have gone into the convolutions before them.

    In evaluation mode BatchNorm is a scale and a shift a channel, so the convolution
    can do both: nothing changes but rounding (Jacob et al. 2018, arXiv 1712.05877).

    Args:
        network: a ResNet of torchvision's or of this course.

    Raises:
        CourseError: it is something else, whose order of layers is not known.
    """
    if not isinstance(network, ResNet):
        raise CourseError(
            f"A {type(network).__name__} cannot be folded; expected a ResNet, whose "
            "BatchNorms each follow a convolution."
        )
    network = copy.deepcopy(network).eval()
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (name, conv), (after, norm) in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, after, nn.Identity())
    return network


@kinds_checked
def int8_weights(model: Model, quantise: Quantise = quantise) -> Model:
    """Return a copy whose convolutions store int8 and compute in float (chapter 06).

    Args:
        model: a ResNet; its head, a few thousand numbers, stays as it is.
        quantise: from a weight to int8 values and a scale for each output channel.

    Raises:
        CourseError: the network is no ResNet.
    """
    network = folded(model.network)
    for name, conv in _convolutions(network).items():
        network.set_submodule(name, Int8Conv2d(conv, quantise=quantise))
    return replace(model, network=network.requires_grad_(False))


@kinds_checked
def int8_arithmetic(model: Model, part: Part, *, kernel: bool = True) -> Model:
    """Return a copy whose convolutions multiply integers (chapter 06).

    Weights become int8 and what comes into a convolution uint8, between the lowest and
    the highest value that it meets on the images of a part (Jacob et al. 2018,
    arXiv 1712.05877).

    Args:
        model: a ResNet.
        part: images to learn the ranges from, a few dozen; no test part.
        kernel: see `Int8Conv2d`.

    Raises:
        HeldOutError: a test part was given.
        CourseError: the network is no ResNet, or the part is empty.
    """
    forbid_test(part, "the choice of a range")
    _check_images(part)
    plain = replace(model, network=folded(model.network))
    ranges = _ranges(plain, part.images)
    network = copy.deepcopy(plain.network)
    for name, conv in _convolutions(network).items():
        network.set_submodule(name, Int8Conv2d(conv, ranges[name], kernel=kernel))
    return replace(model, network=network.requires_grad_(False))


def _check_images(part: Part) -> None:
    if not len(part):
        raise CourseError("The part is empty; expected at least one image.")


def _convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    modules = network.named_modules()
    return {name: m for name, m in modules if isinstance(m, nn.Conv2d)}


def _ranges(model: Model, images: Tensor) -> dict[str, tuple[float, float]]:
    """Return the lowest and the highest value that comes into each convolution."""
    seen: dict[str, tuple[float, float]] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            low, high = (value.item() for value in inputs[0].aminmax())
            before = seen.get(name, (low, high))
            seen[name] = (min(low, before[0]), max(high, before[1]))

        return look

    convolutions = _convolutions(model.network)
    hooks = [c.register_forward_pre_hook(watch(n)) for n, c in convolutions.items()]
    try:
        model.logits(images)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


@kinds_checked
def with_torchao(model: Model, part: Part, batch: int = 32) -> nn.Module:
    """Return a network in int8 made by torchao, torch's own way (not needed anywhere).

    Its PT2E flow: export, observe on the images of a part, convert, lower to the
    processor's int8 operators. Takes some ten seconds; no compiler is needed.

    Args:
        model: in evaluation mode, on the CPU.
        part: at least `batch` images to learn the ranges from; no test part.
        batch: the only batch size that the result takes.

    Raises:
        HeldOutError: a test part was given.
        CourseError: torchao is not installed, or there are too few images.
    """
    forbid_test(part, "the choice of a range")
    if len(part) < batch:
        raise CourseError(f"{len(part)} images were given; expected {batch} or more.")
    try:
        from torchao.quantization.pt2e import lowering, move_exported_model_to_eval
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
    except ImportError as error:
        raise CourseError(
            "torchao is not installed here; `pip install torchao` adds it, and nothing "
            "in this course depends on it."
        ) from error
    example = (model.preprocess(part.images[:batch]),)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    # Strictly, or the two calls of a block's one ReLU are taken for one call.
    graph = torch.export.export(model.network, example, strict=True).module()
    observed = prepare_pt2e(graph, quantizer)
    with torch.no_grad():
        for images in part.images.split(batch):
            if len(images) == batch:
                observed(model.preprocess(images))
    network = move_exported_model_to_eval(convert_pt2e(observed))
    return lowering.lower_pt2e_quantized_to_x86(network, example)


# Fewer channels ---------------------------------------------------------------------


def by_batchnorm(block: BasicBlock, generator: torch.Generator) -> Tensor:
    """Score channels by BatchNorm's scale (Liu et al. 2017, arXiv 1708.06519)."""
    return block.bn1.weight.detach().abs()


def by_filter(block: BasicBlock, generator: torch.Generator) -> Tensor:
    """Score channels by the sum of a filter's weights (Li et al. 2017, 1608.08710)."""
    return block.conv1.weight.detach().abs().sum(dim=(1, 2, 3))


def by_chance(block: BasicBlock, generator: torch.Generator) -> Tensor:
    """Score channels at random: the control."""
    return torch.rand(block.conv1.out_channels, generator=generator)


CRITERIA = {"batchnorm": by_batchnorm, "filters": by_filter, "random": by_chance}


@kinds_checked
def prune(
    model: Model, share: float, criterion: str = "batchnorm", seed: int = 0
) -> Model:
    """Return a copy without some channels inside its residual blocks (chapter 06).

    Between the two convolutions of a block channels can go without a trace elsewhere:
    the sum with the shortcut keeps its width.

    Args:
        model: a ResNet of BasicBlocks, such as resnet10 or resnet18.
        share: of the channels of each block, from 0 to below 1; at least one stays.
        criterion: a name in `CRITERIA`; the lowest scores go.
        seed: of the random criterion.

    Raises:
        CourseError: the criterion is unknown, the share is out of range, or the
            network has no such blocks.
    """
    return without(model, kept_channels(model, share, criterion, seed))


@kinds_checked
def kept_channels(
    model: Model, share: float, criterion: str = "batchnorm", seed: int = 0
) -> dict[str, Tensor]:
    """Return which channels `prune` keeps: block name to sorted indices."""
    if criterion not in CRITERIA:
        raise unknown("criterion", criterion, CRITERIA)
    if not 0 <= share < 1:
        raise CourseError(
            f"A share of {share} of the channels was to go; expected 0 to below 1."
        )
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for name, block in _blocks(model.network).items():
        scores = CRITERIA[criterion](block, generator)
        count = max(1, len(scores) - round(share * len(scores)))
        kept[name] = scores.topk(count).indices.sort().values
    return kept


def _blocks(network: nn.Module) -> dict[str, BasicBlock]:
    modules = network.named_modules()
    blocks = {name: m for name, m in modules if isinstance(m, BasicBlock)}
    if not blocks:
        raise CourseError(
            f"A {type(network).__name__} has no channels that can be removed here; "
            "expected a ResNet of BasicBlocks, such as resnet10 or resnet18."
        )
    return blocks


def without(model: Model, kept: Mapping[str, Tensor]) -> Model:
    """Return a copy whose blocks have only some of their inner channels (chapter 06).

    Args:
        model: a ResNet of BasicBlocks.
        kept: block name to the indices of the channels that stay.
    """
    model = model.copy()
    blocks = _blocks(model.network)
    for name, channels in kept.items():
        block = blocks[name]
        block.conv1 = _narrowed(block.conv1, outputs=channels)
        block.bn1 = _narrowed_norm(block.bn1, channels)
        block.conv2 = _narrowed(block.conv2, inputs=channels)
    return model


def _narrowed(
    conv: nn.Conv2d, outputs: Tensor | None = None, inputs: Tensor | None = None
) -> nn.Conv2d:
    weight = conv.weight.detach()
    weight = weight if outputs is None else weight[outputs]
    weight = weight if inputs is None else weight[:, inputs]
    new = nn.Conv2d(
        weight.shape[1],
        weight.shape[0],
        conv.kernel_size,
        conv.stride,
        conv.padding,
        bias=False,
    )
    new.weight = nn.Parameter(weight.clone())
    return new


def _narrowed_norm(norm: nn.BatchNorm2d, channels: Tensor) -> nn.BatchNorm2d:
    new = nn.BatchNorm2d(len(channels), norm.eps, norm.momentum).to(norm.weight)
    state = norm.state_dict()
    new.load_state_dict({k: v[channels] if v.ndim else v for k, v in state.items()})
    return new.train(norm.training)


# A smaller network that learns from a larger one -------------------------------------

HOTTEST = 1e6  # above it all answers are alike, and its square soon is no number


@kinds_checked
def distillation_loss(
    student: Tensor, teacher: Tensor, temperature: float = 1.0
) -> Tensor:
    """Return T² times the divergence of the student's answers from the teacher's.

    Both are softened by the temperature T; the square keeps the gradient's size
    (Hinton et al. 2015, arXiv 1503.02531; chapter 06).

    Args:
        student: logits (N, classes).
        teacher: logits (N, classes).
        temperature: above 0.
    """
    wanted = F.softmax(teacher / temperature, dim=1)
    found = F.log_softmax(student / temperature, dim=1)
    return temperature**2 * F.kl_div(found, wanted, reduction="batchmean")


@kinds_checked
def distil(
    student: Model,
    teacher: Model,
    part: Part,
    recipe: Recipe,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> History:
    """Train a student in place on a teacher's answers; labels are not looked at.

    The teacher answers once for every image, before augmentation (chapter 06).

    Args:
        student: what is trained; it has the teacher's classes.
        teacher: is not changed.
        part: a train part; its labels may be anything.
        recipe: steps, batch, rate, augmentation.
        temperature: see `distillation_loss`.
        seed: of the order of the images and of the augmentation.
        device: see `training.device_of`.
        progress: show a bar.

    Raises:
        HeldOutError: a test part was given.
        CourseError: the classes differ, the part is empty, or the temperature is not
            above 0.
    """
    forbid_test(part, "distillation")
    _check_images(part)
    if student.class_names != teacher.class_names or not 0 < temperature <= HOTTEST:
        raise CourseError(
            f"A student of {len(student.class_names)} classes cannot learn from a "
            f"teacher of {len(teacher.class_names)} at temperature {temperature}; "
            f"expected the same classes and a temperature above 0, {HOTTEST:g} at most."
        )
    # A place in the list of answers instead of a label: so the one loop can be used.
    places = torch.arange(len(part))
    numbered = TrainPart(part.images, places, tuple(map(str, places.tolist())))
    order = Shuffled(numbered, recipe, seed)
    goal = _objective(teacher.logits(part.images), temperature)
    trainer = Trainer(student.network, recipe, objective=goal, device=device)

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        images, chosen = order.batch(step)
        return student.preprocess(images), chosen

    return train_on(trainer, batch_at, progress=progress)


def _objective(
    answers: Tensor, temperature: float
) -> Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]:
    def objective(
        network: nn.Module, images: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        wanted = answers.to(images.device)[places]
        logits = network(images).float()
        agree = (logits.detach().argmax(1) == wanted.argmax(1)).float().mean()
        return distillation_loss(logits, wanted, temperature), agree

    return objective
