"""The order of the data does not depend on who loads it."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.evaluate.processes import Processes
from pcfdsl.train.distributed import batch_keys, choose_device, sample_keys


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    with pytest.raises(ValueError, match="device 'cake' is not known; expected auto, cpu, cuda or cuda:N"):
        choose_device("cake")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device is cuda, but torch finds no GPU"):
        choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"device is cuda:2, but torch finds 2 GPU\(s\), counted from cuda:0"):
        choose_device("cuda:2")
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert chosen == [torch.device("cuda:1")]


@given(
    num_samples=st.integers(1, 30),
    part=st.integers(1, 4),
    accumulate=st.integers(1, 3),
    num_processes=st.integers(1, 4),
    start=st.integers(0, 20),
)
def test_processes_share_the_batches_of_one_process(num_samples, part, accumulate, num_processes, start):
    batch_size, steps = part * accumulate * num_processes, range(start, start + 5)
    settings = {"seed": 3, "batch_size": batch_size}
    whole = list(batch_keys(num_samples, steps=steps, **settings))
    shared = [
        list(
            batch_keys(num_samples, steps=steps, accumulate=accumulate, rank=r, num_processes=num_processes, **settings)
        )
        for r in range(num_processes)
    ]
    for k, batch in enumerate(whole):
        parts = [keys for own in shared for keys in own[k * accumulate : (k + 1) * accumulate]]
        assert all(len(keys) == part for keys in parts)
        assert [key for keys in parts for key in keys] == batch


@given(num_samples=st.integers(1, 30), epochs=st.integers(1, 4), start=st.integers(0, 100))
def test_every_epoch_has_every_sample_once_and_any_position_can_be_the_first(num_samples, epochs, start):
    keys = list(islice(sample_keys(num_samples, seed=1), num_samples * epochs + start))
    for epoch in range(epochs):
        own = keys[epoch * num_samples : (epoch + 1) * num_samples]
        assert sorted(own) == [(epoch, i) for i in range(num_samples)]
    assert keys[start:] == list(islice(sample_keys(num_samples, seed=1, start=start), len(keys) - start))


def test_epochs_and_seeds_differ_in_order():
    first = [i for _, i in islice(sample_keys(100, seed=1), 200)]
    other = [i for _, i in islice(sample_keys(100, seed=2), 100)]
    assert first[:100] != first[100:]
    assert first[:100] != other


def test_things_evaluated_in_batches_come_in_their_order_from_any_number_of_processes():
    def squares(rows):
        return np.array(rows) ** 2, np.array(rows)[:, None] * np.ones(2)

    class Three(Processes):
        """The last of three, as if the others had done their parts."""

        def gather(self, part):
            own = [Processes(rank, 3).share(5) for rank in range(3)]
            others = [[(rows[k : k + 2], squares(rows[k : k + 2])) for k in range(0, len(rows), 2)] for rows in own]
            assert [rows for rows, _ in part] == [rows for rows, _ in others[self.rank]]
            return others

    for group in (Processes(), Three(2, 3)):
        first, second = group.in_batches(squares, 5, 2)
        np.testing.assert_array_equal(first, np.arange(5) ** 2)
        np.testing.assert_array_equal(second, np.arange(5)[:, None] * np.ones(2))
