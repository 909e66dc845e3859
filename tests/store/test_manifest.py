import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from pcfdsl.store.atomic import remove_stale, write_file
from pcfdsl.store.manifest import Manifest, open_folder, read_manifest

MANIFEST = Manifest(recipe="r", config={"seed": 0, "group": {"size": 1.5}}, num_samples=10, samples_per_shard=4)


def test_manifest_round_trip(tmp_path):
    open_folder(tmp_path / "set", MANIFEST)
    assert read_manifest(tmp_path / "set") == MANIFEST
    assert {"pcfdsl", "python", "numpy", "numba"} <= MANIFEST.versions.keys()


def test_shards_cover_the_samples_once():
    assert MANIFEST.num_shards == 3
    assert [i for shard in range(3) for i in MANIFEST.samples_of(shard)] == list(range(10))


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": "s"},
        {"config": {"seed": 1, "group": {"size": 1.5}}},
        {"inputs": {"categories": "ab"}},
        {"num_samples": 11},
        {"samples_per_shard": 5},
    ],
)
def test_digest_depends_on_everything_that_determines_the_bytes(change):
    assert replace(MANIFEST, **change).digest != MANIFEST.digest


def test_digest_does_not_depend_on_versions():
    assert replace(MANIFEST, versions={}).digest == MANIFEST.digest


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: "{", "is damaged; remove it"),
        (lambda content: json.dumps({**content, "num_samples": 12}), "was edited"),
        (lambda content: json.dumps({**content, "format": 99}), "not a manifest of format 1"),
        (lambda content: json.dumps({"format": 1}), "lacks entries"),
    ],
)
def test_invalid_manifests(tmp_path, edit, message):
    open_folder(tmp_path, MANIFEST)
    path = tmp_path / "manifest.json"
    path.write_text(edit(json.loads(path.read_text())))
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path)


def test_overwriting_touches_nothing_else(tmp_path):
    open_folder(tmp_path, MANIFEST)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "categories").mkdir()
    folder = open_folder(tmp_path, replace(MANIFEST, num_samples=11), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["categories", "manifest.json", "notes.txt", folder.name]
    )


def test_exclusive_writing_keeps_existing_files(tmp_path):
    assert write_file(tmp_path / "a.json", b"first", exclusive=True)
    assert not write_file(tmp_path / "a.json", b"second", exclusive=True)
    assert (tmp_path / "a.json").read_bytes() == b"first"
    assert write_file(tmp_path / "a.json", b"third")
    assert (tmp_path / "a.json").read_bytes() == b"third"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.skipif(os.name != "posix", reason="nothing is removed where the existence of a process cannot be checked")
def test_only_temporary_files_of_dead_local_processes_are_removed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    host = socket.gethostname().replace(".", "-")
    stale, *kept = [
        tmp_path / f".00001.safetensors.{host}.{dead.pid}.ab.tmp",
        tmp_path / f".00001.safetensors.{host}.{os.getpid()}.ab.tmp",
        tmp_path / f".00001.safetensors.another-{host}.{dead.pid}.ab.tmp",
        tmp_path / ".mine.tmp",
    ]
    for path in (stale, *kept):
        path.touch()
    assert remove_stale(tmp_path) == [stale]
    assert sorted(tmp_path.iterdir()) == sorted(kept)
