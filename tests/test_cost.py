"""What a network costs: counted by hand, read off the disk, followed through memory."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from course import cost, models
from course.errors import CourseError


class Two(nn.Module):
    """Two convolutions whose maps live as long as Python needs them, and no longer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.second = nn.Conv2d(8, 4, 3, stride=2, padding=1, bias=False)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


@pytest.fixture
def network():
    with models.seeded(0):
        return Two().eval()


IMAGES = torch.zeros(2, 3, 16, 16)


def test_multiply_adds_are_those_counted_by_hand(network):
    first = 16 * 16 * 8 * 3 * 9
    second = 8 * 8 * 4 * 8 * 9
    assert cost.multiply_adds(network, IMAGES[:1]) == first + second
    assert cost.multiply_adds(network, IMAGES) == 2 * (first + second)
    grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
    assert cost.multiply_adds(grouped, torch.zeros(1, 8, 5, 5)) == 25 * 8 * 2 * 9
    assert cost.multiply_adds(nn.Linear(7, 5), torch.zeros(1, 7)) == 35


def test_a_resnet10_has_the_multiply_adds_of_its_layers():
    network = models.resnet10(10).eval()
    stem = 32 * 32 * 32 * 3 * 9
    first = 2 * 32 * 32 * 32 * 32 * 9
    later = [
        side**2 * (wide * wide // 2 * 9 + wide * wide * 9 + wide * wide // 2)
        for side, wide in ((16, 64), (8, 128), (4, 256))
    ]
    expected = stem + first + sum(later) + 256 * 10
    assert cost.multiply_adds(network, torch.zeros(1, 3, 64, 64)) == expected


def test_bytes_are_those_of_a_file_on_the_disk(network, tmp_path):
    place = tmp_path / "own.safetensors"
    save_file(network.state_dict(), place)
    assert cost.file_bytes(network) == place.stat().st_size
    numbers = sum(t.numel() for t in load_file(place).values())
    assert cost.parameters(network) == numbers == 3 * 8 * 9 + 8 * 4 * 9
    assert cost.memory_bytes(network) == 4 * numbers


def test_half_precision_halves_the_file_but_for_its_header(network):
    header = cost.file_bytes(network) - cost.memory_bytes(network)
    halved = cost.file_bytes(network.half()) - cost.memory_bytes(network)
    assert abs(header - halved) <= 16  # its offsets are written with fewer digits
    assert cost.memory_bytes(network) == 2 * cost.parameters(network)


def test_weights_that_training_left_channels_last_can_be_measured(network):
    plain = cost.file_bytes(network)
    network.to(memory_format=torch.channels_last)
    assert cost.file_bytes(network) == plain


def test_peak_memory_is_the_batch_and_the_two_largest_maps(network):
    map_bytes = 2 * 8 * 16 * 16 * 4
    assert cost.peak_bytes(network, IMAGES) == IMAGES.nbytes + 2 * map_bytes
    with_one_map = nn.Sequential(network.first, nn.ReLU(inplace=True))
    assert cost.peak_bytes(with_one_map, IMAGES) == IMAGES.nbytes + map_bytes


def test_what_stays_alive_counts_and_a_view_does_not():
    def hoards(x):
        kept = [x + 1 for _ in range(5)]
        return kept[-1].flatten(1)

    assert cost.peak_bytes(hoards, IMAGES) == 6 * IMAGES.nbytes
    line = torch.zeros(3, 500)
    # A linear layer turns its weight round, which is a view and nothing new.
    assert cost.peak_bytes(nn.Linear(500, 7), line) == line.nbytes + 3 * 7 * 4


def test_latency_is_a_median_with_quartiles_after_the_warm_up(monkeypatch):
    takes = iter([90.0, 80.0, 1.0, 2.0, 3.0, 4.0, 50.0])  # seconds of a false clock
    now = [0.0]

    def slow(x):
        now[0] += next(takes)
        return x

    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])
    taken = cost.latency(slow, IMAGES, repeats=5, warmup=2)
    assert taken == (3000.0, 2000.0, 4000.0)
    assert next(takes, None) is None


def test_latency_tells_a_slow_network_from_a_fast_one():
    slow = cost.latency(lambda x: sum(x @ x for _ in range(50)), torch.ones(200, 200))
    fast = cost.latency(lambda x: x, torch.ones(200, 200))
    assert slow.median > fast.median


def test_everything_is_measured_and_the_network_is_left_as_it_was(network):
    network.train().to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = cost.measure(network, IMAGES, batches=(1, 3), repeats=5)
    assert network.training and all(p.requires_grad for p in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert set(found.latency) == {1, 3}
    assert found.multiply_adds == cost.multiply_adds(network, IMAGES[:1])
    row = found.row("own", accuracy=0.5)
    assert list(row)[:2] == ["network", "accuracy"]
    assert row["file, MB"] == found.file_bytes / 1e6
    assert "ms, batch 3" in row


def test_the_largest_batch_decides_the_memory(network):
    small = cost.measure(network, IMAGES, batches=(1,), repeats=1)
    large = cost.measure(network, IMAGES, batches=(1, 4), repeats=1)
    assert large.peak_bytes == 4 * small.peak_bytes


def test_nothing_to_measure_is_said_in_one_sentence(network):
    for images, batches in ((IMAGES[:0], (1,)), (IMAGES, ()), (IMAGES, (0,))):
        with pytest.raises(CourseError, match="expected at least one image"):
            cost.measure(network, images, batches=batches)
    with pytest.raises(CourseError, match="at least 1"):
        cost.latency(network, IMAGES, repeats=0)
