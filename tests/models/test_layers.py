import pytest
import torch
from torch import nn

from pcfdsl.models.batch_norm import RowNormReLU, set_bn_momentum
from pcfdsl.models.layers import SharedMLP, freeze
from pcfdsl.models.votenet import VoteNet


def test_row_norm_is_batch_norm_then_relu():
    mine, torchs = RowNormReLU(6), nn.BatchNorm1d(6)
    rows = torch.randn(50, 6) * 3 + 1
    for training in (True, True, False):
        mine.train(training)
        torchs.train(training)
        torch.testing.assert_close(mine(rows), torchs(rows).relu(), rtol=1e-5, atol=1e-6)
        for name, value in torchs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_shared_mlp_over_rows_is_the_convolution_network():
    mlp = SharedMLP((4, 8, 5)).eval()
    rows = torch.randn(30, 4)
    values = rows.T[None, :, :, None]
    for layer in mlp.children():
        bn = layer.bn.bn
        values = layer.conv(values)
        values = torch.batch_norm(
            values, bn.weight, bn.bias, bn.running_mean, bn.running_var, False, 0.1, bn.eps, False
        ).relu()
    torch.testing.assert_close(mlp(rows), values[0, :, :, 0].T, rtol=1e-5, atol=1e-6)


def test_momentum_reaches_every_batch_norm(tiny_config):
    network = VoteNet(tiny_config)
    set_bn_momentum(network, 0.25)
    momenta = {child.momentum for child in network.modules() if isinstance(child, nn.BatchNorm1d)}
    assert momenta == {0.25}
    with pytest.raises(ValueError, match="momentum is 2"):
        set_bn_momentum(network, 2)


def test_frozen_parts_do_not_change_and_the_rest_does(tiny_config, toy_scenes):
    points, _ = toy_scenes()
    network = VoteNet(tiny_config).train()
    freeze(network, ["backbone_net", "vgen.bn1"])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    output = network(points)
    (output.center.square().sum() + output.objectness_logits.square().sum()).backward()
    optimizer.step()
    after = network.state_dict()
    frozen = [name for name in before if name.startswith(("backbone_net.", "vgen.bn1."))]
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    parameters = dict(network.named_parameters())
    assert {name for name, p in parameters.items() if not p.requires_grad} == {n for n in frozen if n in parameters}
    assert not torch.equal(before["pnet.conv3.weight"], after["pnet.conv3.weight"])
    assert not torch.equal(before["vgen.conv1.weight"], after["vgen.conv1.weight"])
    with pytest.raises(ValueError, match=r"cannot freeze 'backbone'.*backbone_net, vgen, pnet"):
        freeze(network, ["backbone"])
