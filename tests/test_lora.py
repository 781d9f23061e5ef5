"""LoRA: nothing changes at first, only A and B learn, and merging gives it back."""

import pytest
import torch
from torch import nn

from course import models
from course.errors import CourseError
from course.transfer import LoRAConv2d, add_lora, fingerprint, merge_lora


def a_network(seed=0):
    network = models.fresh(("a", "b", "c"), seed=seed, width=4).network
    return network.eval()


def some_images(seed=0):
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def with_updates(network):
    """A network with LoRA, and with updates that are not zero any more."""
    add_lora(network, rank=2)
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, LoRAConv2d):
            nn.init.normal_(module.B, std=0.3)
    return network


def test_the_first_forward_pass_is_the_old_one():
    network, images = a_network(), some_images()
    before = network(images)
    assert torch.equal(add_lora(network, rank=2)(images), before)


def test_every_3x3_convolution_gets_an_update_and_no_other_layer():
    network = a_network()
    wanted = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    }
    add_lora(network)
    found = {n for n, m in network.named_modules() if isinstance(m, LoRAConv2d)}
    assert found == wanted and len(found) == 9


def test_only_a_and_b_get_a_gradient():
    network = with_updates(a_network())
    network(some_images()).square().sum().backward()
    reached = {n for n, p in network.named_parameters() if p.grad is not None}
    expected = {n for n, _ in network.named_parameters() if n.endswith((".A", ".B"))}
    assert reached == expected
    assert all(p.grad.abs().sum() > 0 for p in network.parameters() if p.requires_grad)


def test_the_update_has_the_rank_and_the_formula_it_says():
    conv = nn.Conv2d(5, 7, 3, bias=False)
    lora = LoRAConv2d(conv, rank=2, scale=0.5)
    nn.init.normal_(lora.B)
    update = (lora.weight() - conv.weight).flatten(1)
    assert torch.linalg.matrix_rank(update, rtol=1e-4) == 2
    assert torch.allclose(update, 0.5 * lora.B @ lora.A, atol=1e-6)


def test_merging_gives_a_plain_network_with_equal_outputs():
    network, images = with_updates(a_network()), some_images()
    plain = merge_lora(network)
    assert not any(isinstance(m, LoRAConv2d) for m in plain.modules())
    assert plain.state_dict().keys() == a_network().state_dict().keys()
    assert torch.allclose(plain(images), network(images), atol=1e-5)
    assert not torch.allclose(plain(images), a_network()(images), atol=1e-3)
    assert all(p.requires_grad for p in plain.parameters())


def test_merging_leaves_the_network_with_lora_as_it_was():
    network = with_updates(a_network())
    before = fingerprint(network)
    merge_lora(network)
    assert fingerprint(network) == before


def test_grouped_and_strided_convolutions_with_a_bias_work_too():
    conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
    lora, images = LoRAConv2d(conv, rank=1), torch.randn(1, 4, 9, 9)
    assert torch.equal(lora(images), conv(images))
    nn.init.ones_(lora.B)
    assert torch.allclose(lora.merged()(images), lora(images), atol=1e-6)


def test_the_seed_decides_a_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = fingerprint(add_lora(a_network(), seed=3))
    assert torch.equal(torch.rand(1), expected)
    assert first == fingerprint(add_lora(a_network(), seed=3))
    assert first != fingerprint(add_lora(a_network(), seed=4))


@pytest.mark.parametrize("rank", [0, -1])
def test_a_rank_below_one_is_refused(rank):
    with pytest.raises(CourseError, match="expected 1 or more"):
        add_lora(a_network(), rank=rank)


def test_a_network_that_lora_does_not_fit_is_refused():
    with pytest.raises(CourseError, match="3×3"):
        add_lora(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(CourseError, match="without LoRA"):
        add_lora(add_lora(a_network()))
