import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcfdsl.store.shards import Shard, encode

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]


@st.composite
def sample_lists(draw):
    """Up to five samples of up to three keys; some keys keep their shape, some differ in the leading size."""
    num_samples = draw(st.integers(1, 5))
    samples: list[dict] = [{} for _ in range(num_samples)]
    for k in range(draw(st.integers(1, 3))):
        dtype = np.dtype(draw(st.sampled_from(DTYPES)))
        shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
        ragged = bool(shape) and draw(st.booleans())
        for sample in samples:
            own = (draw(st.integers(0, 4)), *shape[1:]) if ragged else shape
            size = int(np.prod(own)) * dtype.itemsize
            data = draw(st.binary(min_size=size, max_size=size))
            array = np.frombuffer(data, dtype).reshape(own)
            sample[f"key {k}"] = array != 0 if dtype.kind == "b" else array
    return samples


@settings(max_examples=100, deadline=None)
@given(samples=sample_lists())
def test_every_sample_is_read_back_bit_for_bit(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("shard") / "shard.safetensors"
    data = encode(samples, first_sample=0, digest="d")
    assert data == encode(samples, first_sample=0, digest="d")
    path.write_bytes(data)
    shard = Shard(path, len(data), "d")
    for i, sample in enumerate(samples):
        read = shard.sample(i)
        assert list(read) == sorted(sample)
        for key, array in sample.items():
            assert (read[key].dtype, read[key].shape) == (array.dtype, array.shape)
            assert read[key].tobytes() == array.tobytes()


def test_strided_arrays_and_other_byte_orders(tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    data = encode([{"a": values[:, ::-2], "b": values.astype(">f4")}], first_sample=0, digest="d")
    (tmp_path / "s").write_bytes(data)
    read = Shard(tmp_path / "s", len(data), "d").sample(0)
    np.testing.assert_array_equal(read["a"], values[:, ::-2])
    np.testing.assert_array_equal(read["b"], values)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"a": np.zeros((2, 4))}, r"sample 8: a is float64 \[2, 4\], but sample 7 has float64 \[2, 3\]"),
        ({"a": np.zeros((2, 3), np.float32)}, "sample 8: a is float32"),
        ({"b": np.zeros((2, 3))}, r"sample 8 has the keys \['b'\]; those before it have \['a'\]"),
        ({"a": np.array([["x"]])}, "sample 8: a is an array of <U1; expected numbers or booleans"),
    ],
)
def test_samples_that_do_not_fit_are_named(second, message):
    with pytest.raises(ValueError, match=message):
        encode([{"a": np.zeros((2, 3))}, second], first_sample=7, digest="d")


def test_damaged_and_misplaced_shards(tmp_path):
    data = encode([{"a": np.zeros(3)}], first_sample=0, digest="d")
    path = tmp_path / "00000.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"00000\.safetensors belongs to another set; rerun the command"):
        Shard(path, len(data), "another")
    path.write_bytes(b"\xff" * len(data))
    with pytest.raises(ValueError, match=r"00000\.safetensors cannot be read .* rerun the command"):
        Shard(path, len(data), "d")
