"""The ladder: what a step does at least, how it is fed, and what a rung changes."""

import csv
import json
import re
import threading
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course import cli, data, ladder, models
from course.data.tasks import Task, TestPart, TrainPart, ValidationPart
from course.errors import HeldOutError
from course.ladder import Extent, Ladder, Loop, Rates, Rung, Setup, Work

CHAPTER = Path(__file__).parents[1] / "notebooks" / "12_gpu_lab.ipynb"
CPU = torch.device("cpu")
NAMES = ("dark", "light")
BEST = Rates({torch.float32: 1e9, torch.bfloat16: 4e9}, 1e9)


def a_part(kind, count=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    noise = torch.randint(0, 60, (count, 3, 16, 16), generator=generator)
    images = (noise + 190 * labels[:, None, None, None]).to(torch.uint8)
    return kind(images, labels, NAMES)


@pytest.fixture
def task():
    parts = (a_part(k, seed=n) for n, k in enumerate((TrainPart, ValidationPart)))
    return Task("shades", *parts, a_part(TestPart, seed=2))


@pytest.fixture
def start():
    return models.fresh(NAMES, 0, width=4)


def a_loop(task, start, step=None, **change):
    return Loop(start, task.train, Setup(batch=4, **change), CPU, step)


def weights(loop):
    return torch.cat([p.detach().flatten() for p in loop.model.network.parameters()])


def test_the_work_of_a_linear_layer_is_counted_by_hand():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False))
    images, labels = torch.randn(8, 3, 2, 2), torch.zeros(8, dtype=int)
    counted = ladder.work(network, images, labels, torch.float32)
    product = 2 * 8 * 12 * 5
    assert counted.flops == 2 * product  # forwards, and to the weights; not to images
    assert counted.images == 8
    # At least images and weights are kept; AdamW moves seven numbers a weight.
    assert counted.bytes >= 2 * 4 * (8 * 12) + 7 * 4 * 60
    assert counted.bytes <= 2 * 4 * (8 * 12 + 60 + 8 * 5 * 3 + 8 * 3) + 7 * 4 * 60


def test_half_precision_keeps_fewer_bytes_for_the_same_operations(start):
    network, images = start.network.train(), torch.randn(4, 3, 16, 16)
    labels = torch.zeros(4, dtype=int)
    kinds = (torch.float32, torch.bfloat16)
    whole, lower = (ladder.work(network, images, labels, kind) for kind in kinds)
    assert whole.flops == lower.flops
    assert lower.bytes < whole.bytes


def test_the_floor_is_the_slower_of_computing_and_moving():
    assert Work(2_000_000_000, 1, 4).floor(BEST, torch.float32) == 2
    assert Work(2_000_000_000, 1, 4).floor(BEST, torch.bfloat16) == 0.5
    assert Work(1, 3_000_000_000, 4).floor(BEST, torch.float32) == 3


def test_rates_are_of_both_formats_and_above_zero():
    found = ladder.rates(CPU, tries=1)
    assert set(found.flops) == {torch.float32, torch.bfloat16}
    assert min(*found.flops.values(), found.bytes) > 1e6


def test_a_loop_is_a_hand_written_one(task, start):
    loop, by_hand = a_loop(task, start), start.copy()
    optimiser = torch.optim.AdamW(
        by_hand.network.train().parameters(), lr=ladder.RATE * (4 / ladder.BATCH) ** 0.5
    )
    for images, labels in loop.batches(3, seed=5):
        optimiser.zero_grad()
        F.cross_entropy(by_hand.network(images), labels).backward()
        optimiser.step()
    loop.train(3, seed=5)
    theirs = torch.cat([p.detach().flatten() for p in by_hand.network.parameters()])
    assert torch.allclose(weights(loop), theirs, atol=1e-5)
    assert not torch.allclose(weights(loop), weights(a_loop(task, start)))


@pytest.mark.parametrize("feed", ["ahead", "resident"])
def test_however_it_is_fed_it_sees_the_same_batches(task, start, feed):
    plain, other = a_loop(task, start), a_loop(task, start, feed=feed)
    for seed in (0, 1):
        pairs = zip(plain.batches(5, seed), other.batches(5, seed), strict=True)
        for (images, labels), (theirs, they) in pairs:
            assert torch.equal(images, theirs)
            assert torch.equal(labels, they)


def test_channels_last_changes_the_order_in_memory_and_no_value(task, start):
    plain, last = a_loop(task, start), a_loop(task, start, channels_last=True)
    (one, _), (other, _) = next(plain.batches(1, 0)), next(last.batches(1, 0))
    assert torch.equal(one, other)
    assert other.is_contiguous(memory_format=torch.channels_last)
    assert last.model.network.conv1.weight.stride() != one.stride()


def test_a_reset_goes_back_to_the_start(task, start):
    loop = a_loop(task, start)
    first = loop.train(3)
    assert loop.train(3) != first
    loop.reset()
    assert loop.train(3) == first


def test_half_precision_computes_in_it_and_keeps_weights_whole(task, start):
    loop = a_loop(task, start, precision="half")
    seen = []
    hook = lambda module, inputs, output: seen.append(output.dtype)  # noqa: E731
    loop.model.network.conv1.register_forward_hook(hook)
    loop.train(1)
    assert seen == [torch.bfloat16]
    assert {p.dtype for p in loop.model.network.parameters()} == {torch.float32}


def test_unread_losses_have_the_same_mean(task, start):
    losses = [a_loop(task, start, reads=reads).train(3) for reads in (True, False)]
    assert losses[0] == pytest.approx(losses[1])


def test_a_step_of_the_readers_is_used(task, start):
    calls = []

    def own(network, optimiser, images, labels):
        calls.append((images.shape, labels.shape, optimiser))
        return torch.tensor(2.5)

    loop = a_loop(task, start, own)
    assert loop.train(2) == 2.5
    assert [call[0][0] for call in calls] == [4, 4]
    assert calls[0][2] is loop.optimiser


def test_a_test_part_is_never_trained_on(task, start):
    with pytest.raises(HeldOutError):
        Loop(start, task.test, Setup(), CPU)


def test_items_are_made_ahead_in_another_thread_and_in_order():
    threads, made = set(), []

    def load(item):
        threads.add(threading.current_thread())
        made.append(item)
        return item

    items = ladder.ahead(load, "abcd")
    assert next(items) == "a"
    assert "".join(items) == "bcd"
    assert made == list("abcd")
    assert threads and threading.current_thread() not in threads


def test_an_error_of_the_loader_reaches_the_reader():
    def load(item):
        return 1 / item

    items = ladder.ahead(load, [1, 0, 2])
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        list(items)


def test_peak_memory_is_of_what_is_alive_at_once():
    def one_after_the_other():
        for _ in range(3):
            torch.empty(250_000)

    def all_at_once():
        return [torch.empty(250_000) for _ in range(3)]

    ladder.peak_mb(all_at_once, CPU)  # the profiler's own start
    assert ladder.peak_mb(one_after_the_other, CPU) == pytest.approx(1, abs=0.1)
    assert ladder.peak_mb(all_at_once, CPU) == pytest.approx(3, abs=0.1)


def test_a_trace_holds_named_phases_with_their_times():
    def run():
        with torch.profiler.record_function("phase"):
            torch.ones(8, 8) @ torch.ones(8, 8)

    events = ladder.traced(run)
    named = {e["name"]: e for e in events if "dur" in e}
    phase, product = named["phase"], named["aten::mm"]
    assert phase["ts"] <= product["ts"]
    assert product["ts"] + product["dur"] <= phase["ts"] + phase["dur"]


def a_ladder(task, start, said=None):
    say = print if said is None else said.append
    extent = Extent((0, 1), 8, 1)
    return Ladder(task, start, CPU, extent, best=BEST, batch=4, say=say)


def test_rungs_add_up_and_each_seed_has_a_row(task, start):
    stairs = a_ladder(task, start)
    stairs.climb("fp32")
    stairs.climb("channels_last")
    rows = stairs.climb("data on the device")
    assert [row["rung"] for row in rows] == [
        name for name in ("fp32", "channels_last", "data on the device") for _ in "ab"
    ]
    assert [row["seed"] for row in rows] == [0, 1] * 3
    assert stairs.setup == Setup(channels_last=True, batch=4, feed="resident")
    for row in rows:
        assert 0 <= row["accuracy"] <= 1
        assert min(row[k] for k in ("images_a_second", "floor", "peak_mb")) > 0


def test_a_rung_of_another_device_says_so_and_changes_nothing(task, start):
    said = []
    stairs = a_ladder(task, start, said)
    assert stairs.climb("TF32") == []
    assert stairs.climb("CUDA graphs") == []
    assert len(said) == 2 and "NVIDIA" in said[0] and "CPU" in said[1]
    assert stairs.setup == Setup(batch=4)


def test_a_rung_that_fails_is_said_in_one_sentence(task, start, monkeypatch):
    said = []
    stairs = a_ladder(task, start, said)

    def broken(network, mode):
        raise RuntimeError("Compiler: c++ is not found.\nand much more")

    monkeypatch.setattr(ladder, "compiled", broken)
    assert stairs.climb("torch.compile") == []
    assert said == [
        "torch.compile: not possible on this machine (Compiler: c++ is not found.); "
        "the ladder goes on without."
    ]


def test_every_rung_changes_something_and_says_why_it_does_not_apply():
    names = set(Setup.__dataclass_fields__)
    for rung in ladder.RUNGS[1:]:
        assert rung.change and set(rung.change) <= names
        assert bool(rung.devices) == bool(rung.elsewhere)
    assert ladder.RUNGS[0] == Rung("fp32")


def test_what_is_compiled_computes_the_same():
    network = nn.Linear(3, 2)
    assert ladder.compiled(network, "") is network
    translated = ladder.compiled(network, "default")
    assert translated is not network
    assert next(iter(translated.parameters())) is network.weight


@pytest.mark.parametrize(
    ("kind", "native", "expected"),
    [
        ("cpu", True, torch.bfloat16),
        ("mps", True, torch.float16),
        ("xpu", True, torch.bfloat16),
        ("cuda", True, torch.bfloat16),
        ("cuda", False, torch.float16),
    ],
)
def test_half_is_what_the_device_computes_in(monkeypatch, kind, native, expected):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: native
    )
    assert ladder.half(torch.device(kind)) is expected


def test_float32_is_rounded_to_tf32_only_for_a_while():
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [place.fp32_precision for place in places]
    for precision, expected in (("tf32", "tf32"), ("fp32", "ieee")):
        with ladder.float32_as(precision):
            assert [place.fp32_precision for place in places] == [expected] * 2
        assert [place.fp32_precision for place in places] == before


def test_without_a_gpu_the_table_is_refused_in_one_sentence(tmp_path, capsys):
    if torch.accelerator.is_available():
        pytest.skip("this machine has an accelerator")
    assert cli.main(["gpu-table", "--out", str(tmp_path / "new")]) == 2
    assert "no GPU that torch can use" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_command_writes_a_table_that_can_be_read(
    task, start, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(data, "task", lambda name: task)
    monkeypatch.setattr(models, "load", lambda name: start)
    rungs = [rung for rung in ladder.RUNGS if rung.name != "torch.compile"]
    monkeypatch.setattr(ladder, "RUNGS", tuple(rungs))
    monkeypatch.setattr(ladder, "rates", lambda device: BEST)
    options = ["--device", "cpu", "--profile", "smoke", "--out", str(tmp_path)]
    assert cli.main(["gpu-table", *options]) == 0
    table = ladder.load(tmp_path / "gpu-ladder.csv")
    here = [rung.name for rung in rungs if rung.applies(CPU)]
    assert list(dict.fromkeys(row["rung"] for row in table.rows)) == here
    assert "CPU" in table.card["device"]
    assert table.card["made_by"] == "course gpu-table --profile smoke"
    with (tmp_path / "gpu-ladder.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(here)
    assert "gpu-ladder.csv" in capsys.readouterr().out


def test_a_table_is_shipped_whole_or_not_at_all():
    shipped = ladder.recorded()
    if shipped is not None:
        assert shipped.card["device"] and "cpu" not in shipped.card["device"].lower()
        assert {row["rung"] for row in shipped.rows} <= {r.name for r in ladder.RUNGS}


def test_the_chapter_climbs_the_rungs_of_the_command_in_their_order():
    notebook = json.loads(CHAPTER.read_text("utf-8"))
    code = [c["source"] for c in notebook["cells"] if c["cell_type"] == "code"]
    climbed = re.findall(r'\.climb\(\s*"([^"]+)"', "".join("".join(c) for c in code))
    assert climbed == [rung.name for rung in ladder.RUNGS] + ["your own step"]
