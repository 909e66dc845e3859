"""Dead leaves, spectrum noise and moire, several fractals in one picture, and the perturbations of one."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from pcfdsl.config import ConfigError, load
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.search import search_by_filling
from pcfdsl.image.dead_leaves import DeadLeaves, DeadLeavesConfig
from pcfdsl.image.fractaldb import FractalDB, FractalDBConfig, open_fractaldb
from pcfdsl.image.moire import Moire, MoireConfig
from pcfdsl.image.multi_fractal import MultiFractal, MultiFractalConfig
from pcfdsl.image.palette import draw_palette
from pcfdsl.image.raster import DrawConfig, coloured
from pcfdsl.image.sets import ImageSetConfig
from pcfdsl.image.spectrum import Spectrum, SpectrumConfig, spectrum_noise
from pcfdsl.rng import stream

FRACTALS = FractalDBConfig(
    num_categories=8, image_size=64, num_points=4000, weight=0.1, draw=DrawConfig(style="density", pad=0)
)


@pytest.mark.parametrize(
    "db",
    [
        DeadLeaves(DeadLeavesConfig(num_instances=3, image_size=48)),
        Spectrum(SpectrumConfig(num_instances=3, image_size=48)),
        Moire(MoireConfig(num_instances=3, image_size=48)),
    ],
)
def test_an_image_is_a_function_of_its_numbers(db):
    again = pickle.loads(pickle.dumps(db))
    for i in (200, 0, 31):
        np.testing.assert_array_equal(again[i].image, db[i].image)
        assert (db[i].category, db[i].instance) == divmod(i, 3)
    assert len({db[i].image.tobytes() for i in range(40)}) == 40
    assert type(db)(replace(db.config, seed=1))[5].image.tobytes() != db[5].image.tobytes()
    grey = type(db)(replace(db.config, color=False))[5].image
    assert grey.shape == (48, 48)
    tones = {int(tone): tuple(color) for tone, color in zip(grey.ravel(), db[5].image.reshape(-1, 3), strict=True)}
    pixels = np.array([tones[int(tone)] for tone in grey.ravel()], np.uint8)
    np.testing.assert_array_equal(pixels, db[5].image.reshape(-1, 3))  # one colour for each tone


def test_palettes_go_from_dark_to_bright():
    for k in range(20):
        palette = draw_palette(stream(k)).astype(int)
        assert palette[0].max() <= 77
        assert palette[-1].max() >= 178
    tones = np.array([[0, 255]], np.uint8)
    np.testing.assert_array_equal(coloured(tones, palette.astype(np.uint8)), palette[[0, 255]][None])


# --- dead leaves


class Fallen(DeadLeaves):
    """Leaves of one kind."""

    kind: dict

    def category_parameters(self, category):
        return self.kind


def areas(image):
    """Areas of the connected parts of one tone."""
    from scipy import ndimage

    return np.concatenate([np.bincount(ndimage.label(image == tone)[0].ravel())[1:] for tone in np.unique(image)])


def test_leaves_cover_the_canvas_and_each_other():
    """Were there ground to be seen, its uninitialised bytes would differ between draws."""
    db = DeadLeaves(DeadLeavesConfig(image_size=96, color=False))
    first = db[100_0].image
    garbage = [np.full((96, 96), 7 * k, np.uint8) for k in range(30)]  # what memory that is used again holds
    del garbage
    np.testing.assert_array_equal(db[100_0].image, first)
    large = Fallen(DeadLeavesConfig(image_size=96, color=False))
    large.kind = {"num_sides": 1, "exponent": 3.0, "smallest": 0.1}
    assert len(areas(large[0].image)) < 96**2 / 30
    # An uncut disk has a certain least area; parts are smaller only where another disk lies on top.
    least = np.pi * (0.1 * 96) ** 2
    parts = areas(large[0].image)
    assert (parts < 0.9 * least).sum() > 5
    assert parts.max() > least


def test_uppermost_leaves_are_whole():
    """With leaves of nearly one size, the whole ones have the area of their polygon."""
    for sides in (1, 3, 4, 8):
        db = Fallen(DeadLeavesConfig(image_size=256, color=False))
        db.kind = {"num_sides": sides, "exponent": 60.0, "smallest": 0.05}
        radius = 0.05 * 256
        whole = np.pi * radius**2 if sides == 1 else sides / 2 * radius**2 * np.sin(2 * np.pi / sides)
        found = np.concatenate([areas(db.instance(0, j).image) for j in range(4)])
        near = np.abs(found - whole) < 0.06 * whole
        assert near.sum() >= 4, sides
        assert np.quantile(found, 0.98) < 1.25 * whole, sides


def test_the_exponent_rules_how_many_leaves_are_small():
    def count(exponent):
        db = Fallen(DeadLeavesConfig(image_size=128, color=False))
        db.kind = {"num_sides": 5, "exponent": exponent, "smallest": 1 / 64}
        return np.mean([len(areas(db.instance(0, j).image)) for j in range(4)])

    assert count(4.0) > 1.5 * count(3.0) > 1.5 * 1.5 * count(2.0)


# --- spectrum noise


def test_the_spectrum_falls_off_as_the_category_says():
    """Along each axis the magnitude is f^-exponent, whatever the phases; clipping and rounding are small."""
    size = 256
    f = np.arange(2, 24)
    for exponent_y, exponent_x in ((1.0, 2.0), (0.5, 1.5), (2.5, 1.0)):
        tones = spectrum_noise(stream(3), size, exponent_y, exponent_x).astype(float)
        magnitude = np.abs(np.fft.fft2(tones))
        along_y = np.polyfit(np.log(f), np.log(magnitude[f, 0]), 1)[0]
        along_x = np.polyfit(np.log(f), np.log(magnitude[0, f]), 1)[0]
        assert along_y == pytest.approx(-exponent_y, abs=0.1)
        assert along_x == pytest.approx(-exponent_x, abs=0.1)
        assert tones.mean() == pytest.approx(127.5, abs=2)
        assert tones.std() == pytest.approx(127.5 / 3, rel=0.05)


def test_categories_of_spectra_lie_in_the_range():
    db = Spectrum(SpectrumConfig(num_categories=400, exponents=(1.0, 2.0)))
    found = np.array([list(db.category_parameters(k).values()) for k in range(400)])
    assert 1 <= found.min() < 1.02
    assert 1.98 < found.max() <= 2
    with pytest.raises(ConfigError, match="exponents: is a range from 2"):
        SpectrumConfig(exponents=(2.0, 1.0))


# --- moire


def test_straight_fringes_beat_with_the_difference_of_their_waves():
    size = 256
    db = Moire(MoireConfig(num_categories=200, image_size=size, color=False))
    chosen = [k for k in range(200) if not db.category_parameters(k)["circular"].any()][:8]
    assert len(chosen) == 8
    y, x = np.meshgrid(*[np.fft.fftfreq(4 * size, 1 / (4 * size)) / 4] * 2, indexing="ij")
    window = np.hanning(size)[:, None] * np.hanning(size)
    for k in chosen:
        fringes = db.category_parameters(k)
        first, second = fringes["frequencies"]
        turn = 2 * np.pi * fringes["angle"]
        beat = np.sqrt(first**2 + second**2 - 2 * first * second * np.cos(turn))
        if beat < 4:
            continue  # the window blurs the beat and the mean into one another
        tones = db.instance(k, 0).image.astype(float)
        magnitude = np.abs(np.fft.fft2((tones - tones.mean()) * window, (4 * size, 4 * size)))
        slow = np.hypot(y, x)
        magnitude[(slow < 2.5) | (slow > 0.9 * first)] = 0  # what neither pattern has
        peak = np.unravel_index(magnitude.argmax(), magnitude.shape)
        assert slow[peak] == pytest.approx(beat, abs=0.5), k


def test_circular_fringes_are_circles():
    db = Moire(MoireConfig(num_categories=100, image_size=64, color=False))
    k = next(k for k in range(100) if db.category_parameters(k)["circular"].all())
    image = db.instance(k, 0).image.astype(float)
    straight = next(k for k in range(100) if not db.category_parameters(k)["circular"].any())
    lines = db.instance(straight, 0).image.astype(float)

    def spread(picture):  # of the directions of the gradient
        gy, gx = np.gradient(picture)
        weight = gy**2 + gx**2
        return 1 - np.abs((weight * np.exp(2j * np.arctan2(gy, gx))).sum()) / weight.sum()

    assert spread(image) > 3 * spread(lines)


# --- several fractals


def test_the_categories_of_a_picture_are_those_drawn():
    config = MultiFractalConfig(num_images=3000, image_size=64, objects=(2, 4), fractals=FRACTALS)
    db = MultiFractal(config)
    labels = db.labels()
    assert labels.shape == (3000, 4)
    counts = (labels >= 0).sum(1)
    assert set(counts) == {2, 3, 4}
    for i in (0, 5, 1023, 1024, 2999):
        row = labels[i][labels[i] >= 0]
        np.testing.assert_array_equal(db.categories_of(i), row)
        assert len(set(row.tolist())) == len(row)
        sample = db.arrays(i)
        np.testing.assert_array_equal(np.flatnonzero(sample["category_mask"]), np.sort(row))
        assert db.file_names(i)["image"].removesuffix(".png").split("_")[1:] == [f"{k:05d}" for k in np.sort(row)]
    shares = np.bincount(labels[labels >= 0], minlength=8) / (labels >= 0).sum()
    np.testing.assert_allclose(shares, 1 / 8, atol=0.015)
    np.testing.assert_array_equal(MultiFractal(replace(config, num_images=7)).labels(), labels[:7])


def test_fractals_lie_on_the_background_and_are_those_of_their_category():
    """A category replaced by another system changes exactly the pictures that it is in."""
    config = MultiFractalConfig(num_images=40, image_size=64, objects=(1, 3), fractals=FRACTALS)
    db = MultiFractal(config)
    systems = [db.fractals.category(k) for k in range(8)]
    square = IFS.from_maps(np.tile(np.eye(2) / 2, (4, 1, 1)), np.array([[0, 0], [0, 1], [1, 0], [1, 1]]))
    other = MultiFractal(config, [*systems[:3], square, *systems[4:]])
    same = [bool((db.arrays(i)["image"] == other.arrays(i)["image"]).all()) for i in range(40)]
    assert same == [3 not in db.categories_of(i) for i in range(40)]
    assert 5 < sum(same) < 38
    bare = [np.unique(db.arrays(i)["image"].reshape(-1, 3), axis=0) for i in range(3)]
    assert all(len(colors) > 50 for colors in bare)


def test_settings_of_several_fractals_that_cannot_be_used():
    with pytest.raises(ConfigError, match="objects: is up to 9 different categories, but the fractals have 8"):
        MultiFractalConfig(objects=(1, 9), fractals=FRACTALS)
    with pytest.raises(ConfigError, match="fractals: must be grey and native"):
        MultiFractalConfig(fractals=replace(FRACTALS, draw=DrawConfig(color=True)))
    with pytest.raises(IndexError, match="index 3 is outside this set of 3 images"):
        MultiFractal(MultiFractalConfig(num_images=3, fractals=FRACTALS)).arrays(3)


# --- 1p-frac


def test_categories_of_one_parameter_set_are_perturbations_of_one_system():
    config = load(ImageSetConfig, "image/one_parameter", ["fractaldb.num_categories=30"]).fractaldb
    db = FractalDB(config)
    base = search_by_filling(config.search, config.seed, 0).ifs
    systems = [db.category(k) for k in range(30)]
    ratios = np.array([ifs.matrices / base.matrices for ifs in systems])
    shifts = np.array([ifs.offsets / base.offsets for ifs in systems])
    for found in (ratios, shifts):
        assert 0.9 <= found.min() < 0.91
        assert 1.09 < found.max() <= 1.1
    assert len({ifs.matrices.tobytes() for ifs in systems}) == 30
    np.testing.assert_allclose(systems[7].probabilities, base.probabilities)
    np.testing.assert_array_equal(FractalDB(config).category(29).matrices, systems[29].matrices)
    assert all((db[k].image > 0).mean() > 0.05 for k in (0, 17, 29))


def test_a_perturbation_needs_the_native_set_and_systems_that_fill_something():
    with pytest.raises(ConfigError, match=r"perturbation: is 0\.1, but 0\.0 in the released scripts"):
        FractalDBConfig(variant="released", degenerate="keep", perturbation=0.1)
    search = replace(FractalDBConfig().search, max_draws=1000)
    config = FractalDBConfig(num_points=14_000, perturbation=0.1, search=search, num_categories=1)
    with pytest.raises(ConfigError, match=r"perturbation: is 0\.1: none of 1000 variants of the system fills 5%"):
        open_fractaldb(config)[0]
    with pytest.raises(
        ConfigError, match=r"num_points: is 13000, but variants of the system must fill 5% of 512 x 512"
    ):
        FractalDBConfig(num_points=13_000, perturbation=0.1)
