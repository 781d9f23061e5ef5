"""What the checks of chapter 12 look for, seen without the checks."""

import copy
import threading

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from course.exercises import gpu_lab
from course.exercises.base import seeded
from course.exercises.gpu_lab_rules import READER, Batches


class Dispatched(TorchDispatchMode):
    """Counts, below Python, the operations that have to know values."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masked = name == "index" and args[1][0].dtype == torch.bool
        if masked or name in ("_local_scalar_dense", "nonzero"):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("count", [3, 7])
def test_what_is_handed_out_reads_thrice_a_batch_and_the_reference_twice(count):
    (batches,) = gpu_lab._some_batches(seeded(0), (8,) * count).arguments
    figures = []
    for answer, expected in (
        (gpu_lab.epoch_figures.given, 3 * count),
        (gpu_lab.epoch_figures.reference, 2),
    ):
        with Dispatched() as mode:
            figures.append(answer(list(batches)))
        watched = copy.deepcopy(batches)
        answer(watched)
        assert len(mode.found) == len(watched.readings) == expected
    assert figures[0] == pytest.approx(figures[1])


READINGS = {
    "number": (
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: int(x[0]),
        lambda x: x.tolist(),
        lambda x: [1, 2, 3][x.argmin()],
        lambda x: f"{x.sum():.2f}",
    ),
    "decision": (
        lambda x: bool(x[0] > 0),
        lambda x: max(x[0], x[1]),
        lambda x: 1.0 in x,
        lambda x: torch.equal(x, x + 0),
    ),
    "mask": (
        lambda x: x[x > 0],
        lambda x: (x > 0).nonzero(),
        lambda x: torch.where(x > 0),
        lambda x: x.masked_select(x > 0),
    ),
    "copy": (lambda x: x.cpu(), lambda x: x.numpy(), lambda x: x.to("cpu")),
    "": (
        lambda x: len(x),
        lambda x: x.shape[0] * x.numel(),
        lambda x: x[0] + x[1:].sum(),
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: x.clamp(min=0).mean(),
        lambda x: x.to(torch.float64),
        lambda x: x[torch.tensor([0, 1])],
    ),
}


@pytest.mark.parametrize("kind", READINGS)
def test_each_way_of_reading_is_noticed_once_and_nothing_else_is(kind):
    for read in READINGS[kind]:
        batches = copy.deepcopy(Batches([(torch.tensor([2.0, -1.0, 1.0]),) * 2]))
        read(batches[0][0])
        assert list(batches.readings) == [kind] * bool(kind)


def test_pieces_add_up_to_the_gradient_of_the_whole_batch():
    for case in gpu_lab.accumulated.all_cases():
        network, images, labels, most = copy.deepcopy(case.arguments)
        loss = gpu_lab.accumulated_reference(network, images, labels, most)
        found = [parameter.grad for parameter in network.parameters()]
        whole = F.cross_entropy(network(images), labels)
        expected = torch.autograd.grad(whole, list(network.parameters()))
        assert torch.allclose(loss, whole, atol=1e-6)
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, atol=1e-6)


def test_self_times_of_a_thread_add_up_to_the_time_that_it_was_busy():
    for case in gpu_lab.self_times.all_cases():
        (events,) = case.arguments
        busy = 0
        for thread in {event["thread"] for event in events}:
            end = 0
            own = [event for event in events if event["thread"] == thread]
            for event in sorted(own, key=lambda one: one["start"]):
                last = event["start"] + event["length"]
                busy += max(last - max(event["start"], end), 0)
                end = max(end, last)
        assert sum(gpu_lab.self_times_reference(events).values()) == busy


def test_an_iterator_that_goes_round_in_circles_is_ended():
    threads = []

    def circling(load, count, depth):
        threads.append(threading.current_thread())
        yield load(0)
        while True:
            pass

    verdict = gpu_lab.prefetched.judge(circling)
    assert verdict.mistake == "loaded in the reader's thread"
    (thread,) = threads
    thread.join(10)
    assert thread.name == READER and not thread.is_alive()
