"""What is run for the claims: pre-trainings and studies that fine-tune from them, by their recipes and changes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["PLANS", "PictureStudy", "Plan", "Pretraining", "RoomStudy"]


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """A training of `pcfdsl train`: its task, its recipe and what is changed in it."""

    task: str
    recipe: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RoomStudy:
    """A study of `pcfdsl compare-pretraining`.

    Attributes:
        recipe: The fine-tuning.
        settings: What is changed in it.
        starts: Arm -> the pre-training that it starts from; "scratch" is always there.
    """

    recipe: str
    settings: tuple[str, ...] = ()
    starts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class PictureStudy:
    """A study of `pcfdsl image-study`: its recipe, what is changed in it, its arms (none: all) and seeds."""

    recipe: str = "image_study/laptop"
    settings: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (5, 6, 7, 8, 9)  # with 0 to 4 the length of the recipe's pre-training was chosen


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is run.

    Attributes:
        name: Its key in `PLANS`.
        about: What it is good for, and its cost.
        seeds: Of the fine-tunings in rooms; runs of one seed are paired.
        each_seed: Pre-train once for each seed, so that the intervals hold for the pre-training too, not once for all.
        pretrainings: By name.
        rooms: Studies in rooms, by name.
        pictures: The study of images.
    """

    name: str
    about: str
    seeds: tuple[int, ...]
    each_seed: bool = False
    pretrainings: Mapping[str, Pretraining]
    rooms: Mapping[str, RoomStudy]
    pictures: PictureStudy | None = None


_WIDE = "model.backbone.width=2"
_NO_CURVES = "train.sinks=[]"
_SHARES = {"tenth": 0.1, "quarter": 0.25, "half": 0.5, "all": 1.0}
_FEW_SHARES = ("tenth", "all")
_TENTH = f"train_fraction={_SHARES['tenth']}"
_LONG = "train.num_steps=1000"
_FEW = ("detection", "threshold_015", "classification", "pointcontrast")
_NARROW = (*_FEW, "no_check", "contractive", "filtered", "harmonics", "segmentation", "csc", "random_rooms")
_HARMONICS = """data={kind: objects, scenes: {num_scenes: 100000, num_points: 8192},
    objects: [{formula: spherical_harmonics, num_categories: 64}]}"""


def _pretrainings(*names: str, settings: tuple[str, ...] = ()) -> dict[str, Pretraining]:
    def detection(*changes: str, recipe: str = "votenet/laptop_pretrain") -> Pretraining:
        return Pretraining(task="detection", recipe=recipe, settings=(*changes, *settings, _NO_CURVES))

    def task(name: str, recipe: str) -> Pretraining:
        return Pretraining(task=name, recipe=recipe, settings=(*settings, _NO_CURVES))

    made = {
        "detection": detection(),
        "no_check": detection("data.fractals.search.variance_threshold=0"),
        "threshold_015": detection("data.fractals.search.variance_threshold=0.15"),
        "contractive": detection("data.fractals.search.sampler=contractive"),
        "harmonics": detection(_HARMONICS),
        "filtered": detection("data.fractals.search.sampler=filtered"),
        "classification": task("classification", "classifier/laptop_pretrain"),
        **{name: task(name, f"pretrain/laptop_{name}") for name in ("segmentation", "pointcontrast", "csc")},
        "random_rooms": task("random_rooms", "pretrain/laptop_random_rooms"),
        "wide": detection(_WIDE),
        "srunet": detection(recipe="votenet/laptop_srunet_pretrain"),
        "tr3d": detection(recipe="tr3d/laptop_pretrain"),
    }
    return {name: made[name] for name in names}


def _study(*settings: str, starts: Mapping[str, str], recipe: str = "votenet/laptop_finetune") -> RoomStudy:
    return RoomStudy(recipe=recipe, starts=starts, settings=(*settings, _NO_CURVES))


def _detection(pretraining: str = "detection") -> dict[str, str]:
    return {"detection": pretraining}


def _all_rooms(*lengths: str, shares: Iterable[str]) -> dict[str, RoomStudy]:
    """Every arm of a claim about rooms, with TR3D on these shares of them."""
    return {
        "rooms": _study(_TENTH, *lengths, starts={name: name for name in _NARROW}),
        **{f"tr3d_{share}": _tr3d(share) for share in shares},
        "wide": _study(_TENTH, _WIDE, *lengths, starts=_detection("wide")),
        "srunet": _study(_TENTH, *lengths, starts=_detection("srunet"), recipe="votenet/laptop_srunet_finetune"),
    }


def _tr3d(share: str) -> RoomStudy:
    """TR3D learns rooms in so few steps that their number matters; to VoteNet it makes no difference there."""
    return _study(f"train_fraction={_SHARES[share]}", starts=_detection("tr3d"), recipe="tr3d/laptop_finetune")


_SMOKE_SET = "data.scenes.num_scenes=8"

PLANS: Mapping[str, Plan] = MappingProxyType(
    {
        "smoke": Plan(
            name="smoke",
            about="Seconds: shows that everything runs. Its figures mean nothing.",
            seeds=(0, 1),
            pretrainings={
                "detection": Pretraining(
                    task="detection", recipe="votenet/smoke_pretrain", settings=("train.num_steps=2", _NO_CURVES)
                )
            },
            rooms={
                "rooms": RoomStudy(
                    recipe="votenet/smoke_finetune",
                    settings=("train.num_steps=2", "train.evaluations=1", _SMOKE_SET, _NO_CURVES),
                    starts={"detection": "detection"},
                )
            },
        ),
        "small": Plan(
            name="small",
            about="Under two hours on two cores: 500 steps of pre-training, once for all seeds; 250 of fine-tuning.",
            seeds=(0, 1, 2, 3, 4),
            pretrainings=_pretrainings(*_FEW, "tr3d"),
            rooms={
                "rooms": _study(_TENTH, starts={name: name for name in _FEW}),
                **{f"tr3d_{share}": _tr3d(share) for share in _FEW_SHARES},
            },
            pictures=PictureStudy(arms=("fractaldb", "random_labels", "bezier", "perlin")),
        ),
        "medium": Plan(
            name="medium",
            about="About six hours on two cores: every arm of a claim, as short as in `small`.",
            seeds=(0, 1, 2, 3, 4),
            pretrainings=_pretrainings(*_NARROW, "wide", "srunet", "tr3d"),
            rooms=_all_rooms(shares=_FEW_SHARES),
            pictures=PictureStudy(),
        ),
        "full": Plan(
            name="full",
            about="About three days on two cores: 6,000 steps of pre-training for each seed; 1,000 of fine-tuning.",
            seeds=(0, 1, 2, 3, 4),
            each_seed=True,
            pretrainings=_pretrainings(*_NARROW, "wide", "srunet", "tr3d", settings=("train.num_steps=6000",)),
            rooms=_all_rooms(_LONG, shares=_SHARES),
            pictures=PictureStudy(),
        ),
    }
)
