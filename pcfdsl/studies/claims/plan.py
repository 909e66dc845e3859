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
    """A study of `pcfdsl image-study`: its recipe, what is changed in it, and its arms."""

    recipe: str
    settings: tuple[str, ...] = ()
    arms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is run.

    Attributes:
        name: Its key in `PLANS`.
        about: What it is good for, and its cost.
        seeds: Of the fine-tunings; runs of one seed are paired.
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
_FEW = ("detection", "threshold_015", "classification", "pointcontrast")
_NARROW = (*_FEW, "no_check", "contractive", "segmentation", "csc", "random_rooms")


def _pretrainings(*settings: str) -> dict[str, Pretraining]:
    def detection(*changes: str, recipe: str = "votenet/laptop_pretrain") -> Pretraining:
        return Pretraining(task="detection", recipe=recipe, settings=(*changes, *settings))

    def task(name: str) -> Pretraining:
        return Pretraining(task=name, recipe=f"pretrain/laptop_{name}", settings=settings)

    return {
        "detection": detection(),
        "no_check": detection("data.fractals.search.variance_threshold=0"),
        "threshold_015": detection("data.fractals.search.variance_threshold=0.15"),
        "contractive": detection("data.fractals.search.sampler=contractive"),
        "classification": Pretraining(task="classification", recipe="classifier/laptop_pretrain", settings=settings),
        **{name: task(name) for name in ("segmentation", "pointcontrast", "csc", "random_rooms")},
        "wide": detection(_WIDE),
        "srunet": detection(recipe="votenet/laptop_srunet_pretrain"),
    }


def _rooms(
    *settings: str, starts: Iterable[str] = _NARROW, fractions: Mapping[str, float] = MappingProxyType({})
) -> dict[str, RoomStudy]:
    def study(starts: Mapping[str, str], *changes: str, recipe: str = "votenet/laptop_finetune") -> RoomStudy:
        return RoomStudy(recipe=recipe, starts=starts, settings=(*changes, *settings))

    few = "train_fraction=0.1"
    return {
        "rooms": study({name: name for name in starts}, few),
        **{name: study({"detection": "detection"}, f"train_fraction={share}") for name, share in fractions.items()},
        "wide": study({"detection": "wide"}, few, _WIDE),
        "srunet": study({"detection": "srunet"}, few, recipe="votenet/laptop_srunet_finetune"),
    }


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
            pretrainings={name: _pretrainings(_NO_CURVES)[name] for name in _FEW},
            rooms={
                "rooms": _rooms(_NO_CURVES, starts=_FEW)["rooms"],
                "all_rooms": _rooms(_NO_CURVES, fractions={"all_rooms": 1.0})["all_rooms"],
            },
            pictures=PictureStudy(recipe="image_study/laptop", arms=("fractaldb", "random_labels", "bezier", "perlin")),
        ),
        "full": Plan(
            name="full",
            about="About three days on two cores: 6,000 steps of pre-training for each seed; 1,000 of fine-tuning.",
            seeds=(0, 1, 2, 3, 4),
            each_seed=True,
            pretrainings=_pretrainings("train.num_steps=6000", _NO_CURVES),
            rooms=_rooms(
                "train.num_steps=1000",
                _NO_CURVES,
                fractions={"quarter_rooms": 0.25, "half_rooms": 0.5, "all_rooms": 1.0},
            ),
            pictures=PictureStudy(recipe="image_study/laptop", arms=()),
        ),
    }
)
