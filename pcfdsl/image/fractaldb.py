"""FractalDB: pictures of 2D fractals, each category one system found by its filling rate.

An instance is a category's system with one kind of parameter weighted (25 ways), drawn with its own random numbers
(orbit and masks: "patches", 10 ways), and flipped (4 ways, 8 with right-angle rotations).
(Kataoka et al., Pre-training without Natural Images, ACCV 2020 / IJCV 2022.)
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcfdsl.config import ConfigError, option, validate, within
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.iterate import NUM_LANES, draw_states, play
from pcfdsl.formula.sample import perturbed
from pcfdsl.formula.search import FillingSearchConfig, search_by_filling
from pcfdsl.image.fractal_set import MOST_HALVINGS, FractalSet, chosen_combination
from pcfdsl.image.labelled import LabelledImage
from pcfdsl.image.metrics import isolated_fraction
from pcfdsl.image.raster import DrawConfig, count_ink, rasterize
from pcfdsl.pointcloud.mix import Playable
from pcfdsl.rng import stream

__all__ = [
    "NUM_WEIGHTS",
    "FractalDB",
    "FractalDBConfig",
    "orient",
    "weight_factors",
    "weighted",
]

NUM_WEIGHTS = 25
MOST_ISOLATED = 0.1  # share of inked pixels
_BURN_IN = 16
_PERTURBED_SIZE, _PERTURBED_FILLING = 512, 0.05  # 1p-frac redraws variants with less ink than this, at this size


@dataclass(frozen=True, kw_only=True)
class FractalDBConfig:
    """Everything a FractalDB depends on; by default the recommended recipe: 362 px, 200,000 points, weight 0.4."""

    variant: Literal["native", "released"] = option(
        "native", "clean rules, or exactly those of the released scripts", formerly={"official": "released"}
    )
    seed: int = option(0, "root of every random decision")
    num_categories: int = option(1000, "categories", minimum=1, maximum=10_000_000)
    num_instances: int = option(
        1000, "instances per category: all of 25 x num_patches x num_flips or some", minimum=1, maximum=10_000_000
    )
    image_size: int = option(362, "side of a picture, pixels", minimum=1, maximum=8_192)
    num_points: int = option(200_000, "points per picture", minimum=10, maximum=100_000_000)
    weight: float = option(0.4, "step of the parameter weights: 1 +- this, 1 +- twice this", minimum=0.0, maximum=0.5)
    num_patches: int = option(10, "draws of the random numbers (orbit and masks) per weight", minimum=1, maximum=10_000)
    num_flips: Literal[1, 4, 8] = option(
        4,
        "1: none; 4: flips; 8: flips and right-angle rotations",
    )
    degenerate: Literal["halve", "keep"] = option(
        "halve", "a diverged or nearly blank picture: halve its weight until it is neither, or keep it"
    )
    least_ink: float = option(0.01, "share of min(pixels, points) below which a picture is nearly blank", minimum=0.0)
    search: FillingSearchConfig = option(FillingSearchConfig(), "how categories are found")
    perturbation: float = option(
        0.0,
        "1p-frac: categories are one system, with every entry of every map times its own factor in 1 -/+ this; 0: each "
        "category is a system of its own",
        minimum=0.0,
        maximum=1.0,
    )
    draw: DrawConfig = option(DrawConfig(), "how points become a picture")

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        possible = NUM_WEIGHTS * self.num_patches * self.num_flips
        if self.num_instances > possible:
            yield (
                "num_instances",
                f"is {self.num_instances}, but {NUM_WEIGHTS} weights x num_patches = {self.num_patches} x "
                f"num_flips = {self.num_flips} give {possible}; raise num_patches",
            )
        if self.image_size <= 2 * self.draw.pad:
            yield "image_size", f"is {self.image_size}: no room inside draw.pad = {self.draw.pad} on each side"
        if self.perturbation and self.num_points <= _PERTURBED_FILLING * _PERTURBED_SIZE**2:
            yield (
                "num_points",
                f"is {self.num_points}, but variants of the system must fill {_PERTURBED_FILLING:.0%} of "
                f"{_PERTURBED_SIZE} x {_PERTURBED_SIZE} pixels; use more than "
                f"{_PERTURBED_FILLING * _PERTURBED_SIZE**2:,.0f}, or perturbation=0",
            )
        if self.variant == "released":
            yield from self._differences()

    def _differences(self):
        where = "in the released scripts; set it so, or use variant=native"
        for name, found, expected in (
            ("draw", self.draw, DrawConfig(style=self.draw.style, color=self.draw.color)),
            ("search", self.search, FillingSearchConfig(num_points=self.search.num_points)),
            ("num_flips", self.num_flips, 4),
            ("degenerate", self.degenerate, "keep"),
            ("perturbation", self.perturbation, 0.0),
        ):
            if found != expected:
                yield name, f"is {found}, but {expected} {where}"
        if self.draw.style not in ("dot", "patch"):
            yield "draw.style", f"is {self.draw.style}, but dot or patch {where}"
        if self.draw.style == "dot" and self.num_patches != 1:
            yield "num_patches", f"is {self.num_patches}, but 1 where draw.style is dot {where}"


def open_fractaldb(config: FractalDBConfig, categories: Sequence[IFS] | None = None) -> "FractalDB":
    """The data set of a recipe, native or as released by `config.variant`; arguments as for `FractalDB`."""
    if config.variant == "native":
        return FractalDB(config, categories)
    from pcfdsl.image.released_fractaldb import ReleasedFractalDB  # imports this module

    return ReleasedFractalDB(config, categories)


class FractalDB(FractalSet):
    """The data set as a sequence; picture (k, j) depends on (config, k, j) alone.

    Categories are searched for on first use (about 30 ms each) and cached.

    >>> db = FractalDB(FractalDBConfig(num_categories=4, num_instances=6, image_size=64, num_points=5000))
    >>> len(db), db[8].category, db[8].instance, db[8].image.shape
    (24, 1, 2, (64, 64))
    """

    name = "fractaldb"
    config: FractalDBConfig

    variants = ("native",)

    def __init__(self, config: FractalDBConfig, categories: Sequence[IFS] | None = None):
        """Set up without generating anything.

        Args:
            config: The recipe.
            categories: Systems of a stored set or a released CSV folder; searched for if None.

        Raises:
            ConfigError: If the number of categories differs from the configured one, or one is not 2D; or for the other
                variant (`open_fractaldb` opens both).
        """
        super().__init__(config.num_categories, config.num_instances, categories, dim=2)
        if config.variant not in self.variants:
            raise ConfigError(
                [("variant", f"is {config.variant}: open the set with pcfdsl.image.fractaldb.open_fractaldb")]
            )
        self.config = config
        self._base: IFS | None = None

    def search(self, category: int) -> IFS:
        """Search for the system of a category, ignoring the cache."""
        config = self.config
        if not config.perturbation:
            with within("search"):
                return search_by_filling(config.search, config.seed, category).ifs
        if self._base is None:
            with within("search"):
                self._base = search_by_filling(config.search, config.seed, 0).ifs
        for draw in range(config.search.max_draws):
            rng = stream(config.seed, "perturbed", category, draw)
            found = perturbed(rng, 1, base=self._base, delta=config.perturbation)[0]
            orbit = self._orbit(Playable.of(found), rng)
            image = rasterize(orbit, _PERTURBED_SIZE, _PERTURBED_SIZE, DrawConfig(style="dot"))
            if image is not None and len(orbit) == config.num_points and np.mean(image > 0) > _PERTURBED_FILLING:
                return found
        raise ConfigError(
            [
                (
                    "perturbation",
                    f"is {config.perturbation}: none of {config.search.max_draws} variants of the system fills "
                    f"{_PERTURBED_FILLING:.0%} of a picture; lower it, or raise num_points",
                )
            ]
        )

    def weighted_system(self, category: int, weight: int, halvings: int) -> IFS:
        """The category's system in one of its 25 weightings; the step is halved `halvings` times, finally set to 0."""
        if halvings == MOST_HALVINGS:
            return self.category(category)
        return weighted(self.category(category), weight_factors(self.config.weight / 2**halvings)[weight])

    def combination(self, category: int, instance: int) -> tuple[int, int, int]:
        """Weight, patch and flip of an instance."""
        config = self.config
        possible = NUM_WEIGHTS * config.num_patches * config.num_flips
        combination = chosen_combination(config.seed, category, instance, config.num_instances, possible)
        weight, rest = divmod(combination, config.num_patches * config.num_flips)
        return weight, *divmod(rest, config.num_flips)

    def file_name(self, index: int) -> str:
        """The released name: category, weight, patch and flip."""
        category, instance = divmod(self._checked(index), self.num_instances)
        weight, patch, flip = self.combination(category, instance)
        return f"{category:05d}/{category:05d}_{weight:02d}_count_{patch}_flip{flip}"

    def instance(self, category: int, instance: int) -> LabelledImage:
        """Draw one instance; a degenerate one that is kept may be blank.

        Raises:
            ValueError: If the category's unweighted system diverges or stays on a point.
        """
        weight, patch, flip = self.combination(category, instance)
        image, num_redraws = self._draw(category, weight, patch, self.config.draw)
        return LabelledImage(orient(image, flip), category, instance, num_redraws)

    def sparsity_warning(self, *, num_images: int = 16) -> str | None:
        """A warning if the pictures are mostly dust, else None; draws `num_images` of them, spread over the set.

        The limit of 0.1 lies between the 10,000 points at which FractalDB is reported to fail and the 50,000 at which
        it works: 0.43 and 0.07 at 512 px.
        """
        chosen = np.unique(np.linspace(0, len(self) - 1, num_images).astype(np.int64))
        isolated = float(np.mean([self.isolated_fraction(index) for index in chosen.tolist()]))
        if isolated <= MOST_ISOLATED:
            return None
        return (
            f"{isolated:.0%} of the inked pixels have no inked neighbour: above {MOST_ISOLATED:.0%} contours dissolve, "
            "and pre-training on such pictures is reported to fail; raise num_points or lower image_size"
        )

    def isolated_fraction(self, index: int) -> float:
        """Share of isolated pixels among those hit by the points of item `index`, drawn as dots: patches hide them."""
        category, instance = divmod(self._checked(index), self.num_instances)
        weight, patch, _ = self.combination(category, instance)
        dots = dataclasses.replace(self.config.draw, style="dot")
        return isolated_fraction(self._draw(category, weight, patch, dots)[0])

    def _draw(self, category: int, weight: int, patch: int, draw: DrawConfig) -> tuple[np.ndarray, int]:
        """The picture before its flip, and how often its weight was halved."""
        config, size = self.config, self.config.image_size
        least = config.least_ink * min(size * size, config.num_points)
        for halvings in range(MOST_HALVINGS + 1):
            rng = stream(config.seed, "instance", category, weight, patch)
            points = self._orbit(self.ready(category, weight, halvings), rng)
            image = rasterize(points, size, size, draw, rng=rng)
            if config.degenerate == "keep":
                return np.zeros((size, size, 3)[: 2 + draw.color], np.uint8) if image is None else image, 0
            diverged = len(points) < config.num_points
            if image is not None and not diverged and (halvings == MOST_HALVINGS or count_ink(image) >= least):
                return image, halvings
        raise ValueError(f"the system of category {category} itself diverges or stays on a point; search for another")

    def _orbit(self, playable: Playable, rng: np.random.Generator) -> np.ndarray:
        """Points, float32 [N, 2]; fewer if the orbit diverged."""
        skipped = (_BURN_IN + 1) * NUM_LANES
        orbit = np.empty((skipped + self.config.num_points, 2), np.float32)
        orbit[:NUM_LANES] = playable.start
        filled = play(playable.table, playable.thresholds, draw_states(rng), orbit)
        return orbit[skipped : max(filled, skipped)]


def weight_factors(step: float) -> np.ndarray:
    """The 25 weightings, float64 [25, 6]: factors of a b c d (matrix, row by row) and e f (offset), one per row not 1.

    In the released order: five factors 1 - 2w .. 1 + 2w for a (the third is the identity), then four for each of the
    other parameters. A factor of 0 becomes 0.01, as released for w = 0.5.
    """
    values = np.round(1 + step * np.array([-2.0, -1, 0, 1, 2]), 12)  # decimal 0.2, not the float64 of 1 - 2 * 0.4
    values[0] = max(values[0], 0.01)
    rows = [(0, value) for value in values] + [(p, value) for p in range(1, 6) for value in np.delete(values, 2)]
    factors = np.ones((NUM_WEIGHTS, 6))
    for row, (parameter, value) in enumerate(rows):
        factors[row, parameter] = value
    return factors


def weighted(ifs: IFS, factors: np.ndarray) -> IFS:
    """The 2D system with a b c d e f of every map times the six factors; same probabilities, as released."""
    return IFS(ifs.matrices * factors[:4].reshape(2, 2), ifs.offsets * factors[4:], ifs.probabilities)


def orient(image: np.ndarray, flip: int) -> np.ndarray:
    """0: unchanged, 1: top-bottom, 2: left-right, 3: both (the released numbers); 4-7: the same after transposing.

    Args:
        image: uint8 [H, W], or contiguous [H, W, 3].
        flip: 0..7.
    """
    turned = image.view("V3")[..., 0] if image.ndim == 3 else image  # whole pixels copy twice as fast as channels
    if flip >= 4:
        turned = turned.swapaxes(0, 1)
    if flip & 1:
        turned = turned[::-1]
    if flip & 2:
        turned = turned[:, ::-1]
    turned = np.ascontiguousarray(turned)
    return turned if image.ndim == 2 else turned[..., None].view(np.uint8)
