"""Networks in float64: what a check of gradients by differences needs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pcfdsl.config import load
from pcfdsl.datasets.sources import open_scenes
from pcfdsl.recipes import find_recipe
from pcfdsl.train.tasks.detection import DetectorConfig, detection_task


@pytest.mark.parametrize(
    "recipe", ["votenet/smoke_pretrain", "votenet/smoke_srunet_pretrain", "votenet/smoke_transformer_finetune"]
)
def test_gradients_of_a_detector_in_float64_are_the_slopes_of_its_loss(recipe):
    config = load(DetectorConfig, find_recipe(recipe), ["train.device=cpu"])
    task = detection_task(config, open_scenes(config.data))
    batch = task.collate([task.dataset[0, i] for i in range(2)])
    network = task.model.double().train()
    batch = replace(batch, points=batch.points.double(), boxes=batch.boxes.double())

    def loss():
        return task.loss(network, batch, np.random.default_rng(0))[0]

    value = loss()
    assert value.dtype == torch.float64
    value.backward()
    weight = network.pnet.conv3.bias  # behind every norm, and no maximum follows: the loss is smooth in it
    row = int(weight.grad.abs().argmax())
    step = 1e-6
    with torch.no_grad():
        weight[row] += step
        above = loss()
        weight[row] -= 2 * step
        slope = (above - loss()) / (2 * step)
    assert slope.item() == pytest.approx(weight.grad[row].item(), rel=1e-5)
