import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcfdsl.image.metrics import isolated_fraction


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 0, 0, 9])))
def test_isolated_pixels_are_those_without_inked_neighbours(image):
    ink = image != 0
    around = np.pad(ink, 1)
    height, width = ink.shape
    neighbours = sum(
        around[r : r + height, c : c + width].astype(int) for r in range(3) for c in range(3) if (r, c) != (1, 1)
    )
    expected = (ink & (neighbours == 0)).sum() / max(ink.sum(), 1)
    assert isolated_fraction(image) == expected
    assert isolated_fraction(np.stack([np.zeros_like(image), image, image], -1)) == expected
