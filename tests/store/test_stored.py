import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.store.stored import open_set

QUIET = RunOptions(progress=False)


@dataclass(frozen=True)
class Settings:
    seed: int = 0


class Counting:
    """200 samples of different lengths, each full of its own number."""

    name, config = "counting", Settings()

    def __len__(self) -> int:
        return 200

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        return {"values": np.full((index % 7, 2), index), "number": np.array(index)}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "set"
    generate(Counting(), folder, samples_per_shard=2, options=QUIET)  # more shards than are kept open
    return folder


def is_right(sample: dict, index: int) -> bool:
    return int(sample["number"]) == index and np.array_equal(sample["values"], Counting().arrays(index)["values"])


def test_indexing_like_a_sequence(path):
    stored = open_set(path)
    assert all(is_right(sample, i) for i, sample in enumerate(stored))
    assert is_right(stored[-1], 199)
    assert [int(sample["number"]) for sample in stored[10:2:-3]] == [10, 7, 4]
    for index in (200, -201):
        with pytest.raises(IndexError, match=f"sample {index} of a stored set of 200"):
            stored[index]


def test_threads_read_in_any_order(path):
    stored = open_set(path)
    numbers = np.random.default_rng(0).integers(200, size=2000).tolist()
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda i: is_right(stored[i], i), numbers))


def test_pickles_small_and_reads_on(path):
    stored = open_set(path)
    size = len(pickle.dumps(stored))
    assert all(is_right(sample, i) for i, sample in enumerate(stored))
    data = pickle.dumps(stored)
    assert len(data) == size
    assert is_right(pickle.loads(data)[5], 5)


def test_samples_are_copies(path):
    stored = open_set(path)
    stored[5]["values"][:] = -1
    assert is_right(stored[5], 5)


def test_a_folder_without_a_set(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no stored set; expected a folder with manifest\.json"):
        open_set(tmp_path)
