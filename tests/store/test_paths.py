import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.generate.verify import verify
from pcfdsl.store.manifest import DifferentSetError
from pcfdsl.store.paths import as_path, is_remote
from pcfdsl.store.stored import check, open_set

pytest.importorskip("upath", reason="needs universal_pathlib: pip install 'pcfdsl[remote]'")
SETTINGS = {"samples_per_shard": 4, "options": RunOptions(progress=False)}


@pytest.fixture
def noise(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "generate"))
    from stand_in_recipe import Noise

    return Noise()


@pytest.fixture
def url():
    """Folder in fsspec's in-memory file system, emptied afterwards."""
    import fsspec

    yield "memory://pcfdsl/set"
    fsspec.filesystem("memory").rm("/pcfdsl", recursive=True)


def test_a_remote_set_holds_the_bytes_of_a_local_one(noise, url, tmp_path):
    import fsspec

    local = generate(noise, tmp_path / "set", **SETTINGS)
    remote = generate(noise, url, **SETTINGS)
    assert remote.sha256 == local.sha256 == check(url)
    for here, there in zip(open_set(tmp_path / "set"), open_set(url), strict=True):
        assert here.keys() == there.keys()
        assert all(np.array_equal(here[key], there[key]) for key in here)

    files = fsspec.filesystem("memory").find("/pcfdsl")
    assert not [name for name in files if name.endswith(".tmp")]
    assert generate(noise, url, **SETTINGS).num_made == 0
    fsspec.filesystem("memory").pipe(next(name for name in files if name.endswith("00003.safetensors")), b"damaged")
    with pytest.raises(ValueError, match=r"00003.safetensors does not match its checksum"):
        check(url)
    repaired = generate(noise, url, **SETTINGS)
    assert repaired.repaired == [name for name in repaired.repaired if name.endswith("00003.safetensors")] != []
    assert verify(noise, url, **SETTINGS).mismatches == []

    other = replace(noise, config=replace(noise.config, seed=1))
    with pytest.raises(DifferentSetError, match=r"config.seed: 0 -> 1"):
        generate(other, url, **SETTINGS)
    assert generate(other, url, **SETTINGS | {"options": RunOptions(overwrite=True, progress=False)}).num_made == len(
        noise
    )
    assert (
        len({name.rsplit("/", 2)[1] for name in fsspec.filesystem("memory").find("/pcfdsl/set") if "shards-" in name})
        == 1
    )


def test_what_is_local_stays_local(tmp_path, monkeypatch):
    assert as_path(f"file://{tmp_path}") == tmp_path
    assert not is_remote(as_path("a/b"))
    with pytest.raises(ValueError, match=r"s4://x cannot be used: .*s4"):
        as_path("s4://x")
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(ImportError, match=r"pip install 'pcfdsl\[remote\]'"):
        as_path("s3://x")
