"""Schedules equal the published values."""

import math

import pytest
import torch

from pcfdsl.config import ConfigError
from pcfdsl.train.average import MovingAverage
from pcfdsl.train.optim import OptimizerConfig, ScheduleConfig, bn_momentum, build_optimizer, learning_rate_factor


def test_the_step_schedule_is_votenets():
    schedule = ScheduleConfig(kind="step")
    expected = {0: 1e-3, 79: 1e-3, 80: 1e-4, 119: 1e-4, 120: 1e-5, 159: 1e-5, 160: 1e-6, 179: 1e-6}
    for epoch, rate in expected.items():
        assert 1e-3 * learning_rate_factor(schedule, step=0, num_steps=1, epoch=epoch) == pytest.approx(rate, rel=1e-12)


def test_the_batch_norm_schedule_is_votenets():
    schedule = ScheduleConfig(bn_momentum=0.5)
    expected = {0: 0.5, 19: 0.5, 20: 0.25, 40: 0.125, 100: 0.015625, 160: 0.001953125, 179: 0.001953125, 180: 0.001}
    assert {epoch: bn_momentum(schedule, epoch=epoch) for epoch in expected} == expected
    assert bn_momentum(ScheduleConfig(), epoch=3) is None


def test_cosine_falls_from_one_to_the_final_share():
    schedule = ScheduleConfig(kind="cosine", final=0.1)
    factors = [learning_rate_factor(schedule, step=step, num_steps=100, epoch=0) for step in range(101)]
    assert factors[0] == 1
    assert factors[50] == pytest.approx(0.55)
    assert factors[100] == pytest.approx(0.1)
    assert factors == sorted(factors, reverse=True)


def test_warmup_rises_linearly_and_meets_the_schedule():
    schedule = ScheduleConfig(kind="cosine", warmup_steps=10)
    factors = [learning_rate_factor(schedule, step=step, num_steps=110, epoch=0) for step in range(12)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1
    assert factors[11] == pytest.approx((1 + math.cos(math.pi / 100)) / 2)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_frozen_parameters_are_left_out(name, kind):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model.parameters(), OptimizerConfig(name=name, weight_decay=0.01))
    assert type(optimizer) is kind
    assert [parameter.shape for parameter in optimizer.param_groups[0]["params"]] == [(1, 3), (1,)]
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        build_optimizer(model.parameters(), OptimizerConfig())


def test_the_average_is_the_weighted_sum_of_all_weights():
    model = torch.nn.Linear(1, 1, bias=False)
    average = MovingAverage(model, decay=0.9)
    values, expected = [3.0, -1.0, 2.0, 5.0], model.weight.item()
    for t, value in enumerate(values):
        model.weight.data.fill_(value)
        average.update(model)
        keep = min(0.9, (1 + t) / (10 + t))
        expected = keep * expected + (1 - keep) * value
    assert average.model.weight.item() == pytest.approx(expected, rel=1e-6)


def test_milestones_must_increase():
    with pytest.raises(ConfigError, match="must increase"):
        ScheduleConfig(milestones=(80, 80))
