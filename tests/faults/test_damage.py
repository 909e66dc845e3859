"""Truncated, corrupted, swapped or missing files: never read as if intact, and repaired by the same command."""

import random
import shutil
from pathlib import Path

import jobs
import pytest
from folders import content, differences, trained

from pcfdsl.checkpoints.run_folder import load_checkpoint
from pcfdsl.generate.driver import RunOptions
from pcfdsl.generate.images import StoredImages, verify_images
from pcfdsl.generate.pcfractal import StoredPCFractalDB
from pcfdsl.store.manifest import DifferentSetError

DAMAGES = ("cut off", "emptied", "bit flipped", "swapped", "removed", "overwritten with zeros")

QUIET = RunOptions(progress=False)


def damage(rng: random.Random, files: list[Path]) -> str:
    """Do something to one file, or to two; gives what."""
    what, file = rng.choice(DAMAGES), rng.choice(files)
    data = bytearray(file.read_bytes())
    if what == "cut off":
        file.write_bytes(data[: rng.randrange(len(data))])
    elif what == "emptied":
        file.write_bytes(b"")
    elif what == "bit flipped":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
    elif what == "removed":
        file.unlink()
    elif what == "overwritten with zeros":  # as a journal leaves it after a power failure
        file.write_bytes(bytes(len(data)))
    else:
        other = rng.choice([path for path in files if path != file and path.suffix == file.suffix] or [file])
        other_data = other.read_bytes()
        other.write_bytes(data)
        file.write_bytes(other_data)
        return f"{file.name} and {other.name} swapped"
    return f"{file.name} {what}"


def read_clouds(out: Path) -> None:
    whole = [cloud.points.tobytes() for cloud in StoredPCFractalDB(out)]
    assert whole == READ["clouds"]


def read_shards(out: Path) -> None:
    whole = [image.image.tobytes() for image in StoredImages(out)]
    assert whole == READ["shards"]


def read_files(out: Path) -> None:
    image_format = "webdataset" if list(out.glob("*.tar")) else "folder"
    settings = jobs.picture_settings(20)
    verify_images(settings, out, image_format=image_format, num_samples=5, options=QUIET)


READ: dict[str, list[bytes]] = {}
SETS = {
    "clouds": ("clouds", {}, read_clouds),
    "shards": ("pictures", {"image_format": "shards", "num_instances": 20}, read_shards),
    "folder": ("pictures", {"image_format": "folder", "num_instances": 20}, read_files),
    "webdataset": ("pictures", {"image_format": "webdataset", "num_instances": 20}, read_files),
}


@pytest.mark.parametrize("name", SETS)
def test_damaged_sets_are_refused_or_read_right_and_made_whole_again(tmp_path, record_property, name):
    job, settings, read = SETS[name]
    rng, make = random.Random(name), jobs.JOBS[job]
    make(str(tmp_path / "whole"), **settings)
    whole = content(tmp_path / "whole")
    if name == "clouds":
        READ[name] = [cloud.points.tobytes() for cloud in StoredPCFractalDB(tmp_path / "whole")]
    if name == "shards":
        READ[name] = [image.image.tobytes() for image in StoredImages(tmp_path / "whole")]
    read(tmp_path / "whole")
    found, out = [], tmp_path / "damaged"
    for _ in range(40):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", out)
        files = sorted(path for path in out.rglob("*") if path.is_file())
        done = [damage(rng, files) for _ in range(rng.choice((1, 1, 2)))] if len(files) > 3 else []
        for attempt in (read, lambda out: make(str(out), **settings)):
            try:
                attempt(out)
            except DifferentSetError:  # manifests in each other's place
                make(str(out), **settings, overwrite=True)
            except (OSError, ValueError) as error:
                for manifest in out.rglob("manifest.json"):  # what is said to do is done
                    if str(manifest) in str(error):
                        manifest.unlink()
        make(str(out), **settings)
        # A manifest's digest does not cover the versions it was begun with, which decide nothing.
        names = [name for name in differences(content(out), whole) if not name.endswith("manifest.json")]
        found += [f"{done}: {name}" for name in names]
    record_property("damages tried", 40)
    record_property("runs compared", 40)
    record_property("differences", len(found))
    assert found == []


def test_damaged_runs_are_refused_or_end_with_the_same_weights(tmp_path, record_property):
    jobs.training(str(tmp_path / "half"), num_steps=4)
    whole, rng, out = trained(tmp_path / "half"), random.Random(0), tmp_path / "damaged"
    found, refused = [], 0
    for _ in range(40):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(tmp_path / "half", out)
        files = sorted(path for path in out.iterdir() if path.suffix in (".pt", ".safetensors"))
        done = damage(rng, files)
        for name in ("best", "last"):
            try:
                state = load_checkpoint(out / f"{name}.safetensors").state
            except (OSError, ValueError):
                refused += 1
                continue
            if "swapped" not in done:  # of one run: the best may well stand where the last stood
                found += [f"{done}: {k}" for k, v in state.items() if v.numpy().tobytes() != whole[f"{name}: {k}"]]
        try:
            jobs.training(str(out), num_steps=4)
        except (OSError, ValueError) as error:
            refused += str(out) in str(error)
    record_property("damages tried", 40)
    record_property("differences", len(found))
    assert found == []
    assert refused > 20
