from dataclasses import replace

import pytest

from pcfdsl.datasets.sources import open_scenes
from pcfdsl.train.loop import train
from pcfdsl.train.tasks.detection import detection_task


@pytest.fixture(scope="session")
def train_until_step_4():
    """(config, folder): train a detector; it fails in step 4, after the checkpoint of step 4 was written."""

    def interrupted(config, folder):
        task = detection_task(config, open_scenes(config.data), open_scenes(config.validation))
        calls = []

        def failing_loss(network, batch, rng):
            calls.append(1)
            if len(calls) > 4:
                raise RuntimeError("power cut")
            return task.loss(network, batch, rng)

        with pytest.raises(RuntimeError, match="power cut"):
            train(replace(task, loss=failing_loss), config.train, folder)

    return interrupted
