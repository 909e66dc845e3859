"""Whatever is in a file, it is read or refused with a sentence; its promises cost no memory.

A minute of each parser with more than this: `fuzz_parsers.py`.
"""

import resource
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import TARGETS

# Fuzzed by the tests beside the others.
ELSEWHERE = ("matlab", "pickle", "scannet_mesh", "scannet_segments", "scannet_groups", "scannet_alignment")
HOSTILE = (
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"-1",
    b"nan",
    b"1e999",
    b"9" * 12,
    b"null",
    b'"',
    b"../",
    b"[" * 5000,
)
BOMBS = {
    "npz": "view_npz",
    "npy": "points_npy",
    "ply": "points_ply",
    "ply_text": "points_ply_text",
    "safetensors": "weights",
    "png": "png",
    "tar": "tar",
    "yaml": "yaml",
}


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """The content with a few bytes changed, put in, taken out, or cut off."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(content)))
        piece = draw(st.binary(min_size=1, max_size=4) | st.sampled_from(HOSTILE))
        taken = draw(st.sampled_from((0, 1, len(piece), len(content))))
        content[place : place + taken] = piece
    return bytes(content)


@pytest.mark.parametrize("name", TARGETS)
def test_the_samples_are_read(tmp_path, name):
    assert TARGETS[name].attempt(tmp_path, TARGETS[name].sample) is None


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in ELSEWHERE])
def test_any_damage_is_read_or_refused_with_a_sentence(tmp_path_factory, name):
    target, folder = TARGETS[name], tmp_path_factory.mktemp("fuzz")

    @settings(max_examples=40)
    @given(damaged(target.sample) | st.binary(max_size=60))
    def attempt(content):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries, about numbers that are none
            message = target.attempt(folder, content)
        assert message is None or message.strip()

    attempt()


def test_files_of_few_bytes_that_promise_many_cost_no_memory(tmp_path):
    script = f"""
        import resource, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from targets import TARGETS, bomb
        from pathlib import Path
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for name, target in {BOMBS!r}.items():
            content = bomb(name)
            print(name, len(content), "refused" if TARGETS[target].attempt(Path(sys.argv[1]), content) else "READ")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, 60)),
    )
    assert done.returncode == 0, done.stderr
    *said, grown = done.stdout.splitlines()
    assert [line.split()[-1] for line in said] == ["refused"] * len(BOMBS), said
    assert int(grown) < 400_000  # kilobytes


def test_nothing_in_a_checkpoint_or_pickle_is_executed(tmp_path):
    class Hostile:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    import pickle

    torch.save({"settings": {"seed": 0}, "state_dict": {"a": Hostile()}}, tmp_path / "hostile")
    for name, content in (
        ("torch_file", (tmp_path / "hostile").read_bytes()),
        ("resume", (tmp_path / "hostile").read_bytes()),
        ("pickle", pickle.dumps(Hostile())),
        ("torch_file", pickle.dumps(Hostile())),
    ):
        assert TARGETS[name].attempt(tmp_path, content)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["../../outside", "/etc", "one/../../splits", "..", "."])
def test_names_of_scenes_do_not_lead_out_of_a_set(tmp_path, name):
    (tmp_path.parent / "outside").mkdir(exist_ok=True)
    message = TARGETS["split"].attempt(tmp_path, f"one\n{name}\n".encode())
    assert message is not None
    assert repr(name) in message
