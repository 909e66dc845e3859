"""Settings of runs by earlier versions, translated so that their networks open and the runs resume."""

from collections.abc import Mapping
from typing import Any

from pcfdsl.models.losses import TOTAL_WEIGHT, WEIGHTS

__all__ = ["current_settings"]

# Settings that came later, with the value that says what went before: by the name of the group, and a setting in it.
_LATER: dict[tuple[str, str], dict[str, Any]] = {
    ("model", "mean_sizes"): {"detector": "votenet"},
    ("augment", "jitter"): {"translation": 0.0},
}

# 0.1.0 had one class for all sources of scenes, one of clouds and one of pictures; now each kind has its own.
_SCENE_FIELDS = {
    "fractals": ("scenes", "fractals"),
    "furniture": ("split", "scenes"),
    "meshes": ("folder", "scenes"),
    "detection_set": ("folder", "split"),
    "shards": ("folder",),
    "votenet": ("folder", "split"),
    "mmdetection3d": ("folder", "split"),
    "none": (),
}
_CLOUD_FIELDS = {"fractals": ("fractals",), "npz": ("path",), "folder": ("path", "up", "bin_columns")}
_PICTURE_FIELDS = {
    "recipe": ("recipe",),
    "shards": ("path",),
    "folder": ("path", "split"),
    "npz": ("path", "images_key", "labels_key"),
    "torchvision": ("dataset", "path", "split"),
    "none": (),
}
_SUBSET = {"fraction": "train_fraction", "per_class": "per_class", "subset_seed": "subset_seed"}
_SCENE_KINDS = {"stored": "detection_set", "generated": "shards"}


# Options that are gone, with the value that is now the only one. Another value stays, and is refused as unknown.
_RETIRED = {
    "background_weight": 0.1,
    "class_weight": 1.0,
    "cluster_neighbors": 16,
    "color_jitter": 0.4,
    "evaluation_batch": 256,
    "head": False,
    "loss": {"total": TOTAL_WEIGHT, **WEIGHTS},
    "min_share": 0.2,
    "ratio": [0.75, 1.3333],
    "switch": 0.5,
    "vote_factor": 1,
    "vote_weight": 1.0,
}


def current_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the settings of a run into those of this version; current ones are unchanged.

    >>> old = {"kind": "stored", "folder": "set", "split": "val", "scenes": {}, "fractals": {}}
    >>> current_settings({"validation": old, "train": {"num_steps": 250, "epochs": None}})
    {'validation': {'kind': 'detection_set', 'folder': 'set', 'split': 'val'}, 'train': {'num_steps': 250}}
    >>> current_settings({"data": {"kind": "npz", "path": "a.npz", "up": "z", "bin_columns": 6, "fractals": {}}})
    {'data': {'kind': 'npz', 'path': 'a.npz'}}
    >>> old = {"kind": "stored", "path": "set", "images_key": "images", "fraction": 0.5, "subset_seed": 0}
    >>> current_settings({"data": old})
    {'data': {'kind': 'shards', 'path': 'set'}, 'train_fraction': 0.5, 'subset_seed': 0}
    >>> current_settings({"augment": {"jitter": 0.0}})
    {'augment': {'translation': 0.0, 'jitter': 0.0}}
    >>> current_settings({"data": {"recipe": {"rcdb": {"variant": "official"}}}})
    {'data': {'recipe': {'rcdb': {'variant': 'released'}}}}
    >>> current_settings({"model": {"vote_factor": 1, "cluster_neighbors": 32}})
    {'model': {'cluster_neighbors': 32}}
    >>> current_settings({"train": {"tensorboard": False, "seed": 1}})
    {'train': {'sinks': [], 'seed': 1}}
    """
    both_ways = "num_pairs" not in settings  # RandomRooms contrasts both ways, PointContrast and CSC one
    settings = _translated(settings, {**_RETIRED, "symmetric": both_ways})
    for (name, sign), later in _LATER.items():
        group: Any = settings.get(name)
        if isinstance(group, Mapping) and sign in group:
            settings[name] = {**later, **group}
    for name in ("data", "validation"):
        source: Any = settings.get(name)
        if isinstance(source, Mapping) and {"scenes", "fractals", "folder", "split"} <= source.keys():
            written = str(source["kind"])
            kind = _SCENE_KINDS.get(written, written)
            fields = _SCENE_FIELDS.get(kind, tuple(source))
            settings[name] = {"kind": kind} | {field: source[field] for field in fields}
        if isinstance(source, Mapping) and {"images_key", "subset_seed"} <= source.keys():
            kind = "shards" if source["kind"] == "stored" else source["kind"]
            settings[name] = {"kind": kind} | {field: source[field] for field in _PICTURE_FIELDS.get(kind, source)}
            if name == "data":
                settings |= {new: source[field] for field, new in _SUBSET.items() if field in source}
    clouds: Any = settings.get("data")
    if isinstance(clouds, Mapping) and {"path", "up", "bin_columns", "fractals"} <= clouds.keys():
        kept = _CLOUD_FIELDS.get(clouds["kind"], tuple(clouds))
        settings["data"] = {"kind": clouds["kind"]} | {field: clouds[field] for field in kept}
    train = settings.get("train")
    if isinstance(train, Mapping) and "tensorboard" in train:
        sinks = ["tensorboard"] if train["tensorboard"] else []
        train = {"sinks": sinks, **{name: value for name, value in train.items() if name != "tensorboard"}}
        settings["train"] = train
    if isinstance(train, Mapping) and train.get("num_steps") is not None:  # then epochs is unused, and was null
        settings["train"] = {name: value for name, value in train.items() if name != "epochs"}
    return settings


def _translated(settings: Mapping[str, Any], retired: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without retired options, in which `variant: official` has its present name, `released`."""
    return {
        key: _translated(value, retired)
        if isinstance(value, Mapping)
        else "released"
        if (key, value) == ("variant", "official")
        else value
        for key, value in settings.items()
        if key not in retired or value != retired[key]
    }
