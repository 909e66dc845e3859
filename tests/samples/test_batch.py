"""Batches come in the order of their keys, and errors of samples are the same with workers and without."""

import pytest

from pcfdsl.config import ConfigError
from pcfdsl.samples.batch import load_batches


class OddError(ValueError):
    """An error that does not survive its way out of a worker."""

    def __init__(self, one, other):
        super().__init__(f"{one} {other}")


ERRORS = {
    3: ConfigError([("data.path", "is no folder")]),
    4: FileNotFoundError(2, "No such file or directory", "scan.ply"),
    5: OddError("very", "odd"),
}


class Numbers:
    def __getitem__(self, key):
        if key in ERRORS:
            raise ERRORS[key]
        return key


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_come_in_order(num_workers):
    assert list(load_batches(Numbers(), [[1, 2], [0], [2, 1]], collate=sum, num_workers=num_workers)) == [3, 0, 3]


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("key", [3, 4])
def test_an_error_of_a_sample_is_the_same_from_workers(key, num_workers):
    batches = load_batches(Numbers(), [[1, 2], [1, key]], collate=sum, num_workers=num_workers)
    assert next(batches) == 3
    with pytest.raises(type(ERRORS[key])) as raised:
        next(batches)
    assert (str(raised.value), vars(raised.value)) == (str(ERRORS[key]), vars(ERRORS[key]))


def test_one_that_cannot_leave_a_worker_is_described_by_torch():
    with pytest.raises(RuntimeError, match="Caught OddError in DataLoader worker"):
        next(load_batches(Numbers(), [[5]], collate=sum, num_workers=1))
