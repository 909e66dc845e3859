from dataclasses import replace

import pytest

from pcfdsl.datasets.sources import open_scenes
from pcfdsl.train.loop import train
from pcfdsl.train.tasks.detection import detection_task


@pytest.fixture(scope="session")
def train_until_it_fails():
    """(task, config of the training, folder, after, error): train; the loss after so many raises the error."""

    def interrupted(task, config, folder, *, after, error):
        calls = []

        def failing_loss(network, batch, rng):
            calls.append(1)
            if len(calls) > after:
                raise error
            return task.loss(network, batch, rng)

        with pytest.raises(type(error)) as raised:
            train(replace(task, loss=failing_loss), config, folder)
        assert raised.value is error

    return interrupted


@pytest.fixture(scope="session")
def train_until_step_4(train_until_it_fails):
    """(config, folder): train a detector; it fails in step 4, after the checkpoint of step 4 was written."""

    def interrupted(config, folder):
        task = detection_task(config, open_scenes(config.data), open_scenes(config.validation))
        train_until_it_fails(task, config.train, folder, after=4, error=RuntimeError("power cut"))

    return interrupted
