"""Damaged and misplaced shards are never read as if they were intact."""

import dataclasses
import json

import numpy as np
import pytest

from pcfdsl.config import option
from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.generate.verify import verify
from pcfdsl.store.manifest import read_manifest, read_record, version_notes, versions
from pcfdsl.store.stored import check, open_set

QUIET = RunOptions(progress=False)


@dataclasses.dataclass(frozen=True)
class Settings:
    seed: int = option(0, "Unused.")


class Numbers:
    """Twelve samples of equal size, so that all shards have the same size."""

    name, config = "numbers", Settings()

    def __len__(self) -> int:
        return 12

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        return {"values": np.full(100, index)}


@pytest.fixture
def out(tmp_path):
    make(tmp_path / "set")
    return tmp_path / "set"


def make(out):
    return generate(Numbers(), out, samples_per_shard=3, options=QUIET)


def files(out) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.rglob("*.safetensors")}


def swap(first, second) -> None:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


@pytest.mark.parametrize("with_records", [False, True])
def test_swapped_shards(out, with_records):
    whole = files(out)
    first, second = (read_manifest(out).shard_path(out, number) for number in (1, 2))
    stored = open_set(out)
    swap(first, second)
    if with_records:
        swap(first.with_suffix(".json"), second.with_suffix(".json"))
        with pytest.raises(FileNotFoundError, match="2 of 4 shards are missing, the first is 1"):
            open_set(out)
    for number in (3, 6):
        with pytest.raises(ValueError, match=r"0000[12]\.safetensors .*; rerun the command that made the set"):
            stored[number]
    with pytest.raises((ValueError, FileNotFoundError)):
        check(out)
    assert make(out).num_made == 6
    assert files(out) == whole


def test_a_flipped_bit_is_detected_on_first_access(out):
    path = read_manifest(out).shard_path(out, 2)
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)
    stored = open_set(out)
    assert stored[0]["values"][0] == 0
    for _ in range(2):
        with pytest.raises(ValueError, match=r"00002\.safetensors does not match its checksum; rerun the command"):
            stored[7]
    make(out)
    assert stored[7]["values"][0] == 7


@pytest.mark.parametrize(
    "change",
    [{"shard": 3}, {"shard": "1"}, {"num_bytes": None}, {"counters": [1]}, {"versions": {"numpy": 2}}, {"x": 1}],
)
def test_invalid_records_are_rewritten(out, change):
    path = read_manifest(out).shard_path(out, 1)
    content = json.loads(path.with_suffix(".json").read_bytes())
    path.with_suffix(".json").write_text(json.dumps(content | change))
    assert read_record(path) is None
    assert make(out).num_made == 3
    assert json.loads(path.with_suffix(".json").read_bytes()) == content


def test_a_set_resumed_with_other_versions_is_noted(out, monkeypatch):
    assert make(out).notes == []
    read_manifest(out).shard_path(out, 3).unlink()
    older = {**versions(), "numpy": "1.0"}
    monkeypatch.setattr("pcfdsl.generate.driver.versions", lambda: older)
    make(out)
    monkeypatch.undo()
    (note,) = make(out).notes
    assert note.startswith(f"1 of 4 shards of {out} were made with numpy 1.0, but this is {versions()['numpy']}: ")
    assert verify(Numbers(), out, samples_per_shard=3, options=QUIET).notes == [note]
    record = read_record(read_manifest(out).shard_path(out, 0))
    assert record is not None
    assert version_notes(out, [record]) == []
    assert version_notes(out, []) == []
