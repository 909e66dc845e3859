"""Settings of runs by earlier versions, translated so that their networks open and the runs resume."""

from collections.abc import Mapping
from typing import Any

__all__ = ["current_settings"]

# 0.1.0 had one class for all sources of scenes and one for all sources of clouds; now each kind has its own.
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
_SCENE_KINDS = {"stored": "detection_set", "generated": "shards"}


def current_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the settings of a run into those of this version; current ones are unchanged.

    >>> old = {"kind": "stored", "folder": "set", "split": "val", "scenes": {}, "fractals": {}}
    >>> current_settings({"validation": old, "train": {"num_steps": 250, "epochs": None}})
    {'validation': {'kind': 'detection_set', 'folder': 'set', 'split': 'val'}, 'train': {'num_steps': 250}}
    >>> current_settings({"data": {"kind": "npz", "path": "a.npz", "up": "z", "bin_columns": 6, "fractals": {}}})
    {'data': {'kind': 'npz', 'path': 'a.npz'}}
    >>> current_settings({"data": {"kind": "stored", "path": "set", "images_key": "images"}})
    {'data': {'kind': 'shards', 'path': 'set', 'images_key': 'images'}}
    >>> current_settings({"data": {"recipe": {"rcdb": {"variant": "official"}}}})
    {'data': {'recipe': {'rcdb': {'variant': 'released'}}}}
    """
    settings = _with_variants(settings)
    for name in ("data", "validation"):
        source: Any = settings.get(name)
        if isinstance(source, Mapping) and {"scenes", "fractals", "folder", "split"} <= source.keys():
            written = str(source["kind"])
            kind = _SCENE_KINDS.get(written, written)
            fields = _SCENE_FIELDS.get(kind, tuple(source))
            settings[name] = {"kind": kind} | {field: source[field] for field in fields}
        if isinstance(source, Mapping) and "images_key" in source and source["kind"] == "stored":
            settings[name] = {**source, "kind": "shards"}
    clouds: Any = settings.get("data")
    if isinstance(clouds, Mapping) and {"path", "up", "bin_columns", "fractals"} <= clouds.keys():
        kept = _CLOUD_FIELDS.get(clouds["kind"], tuple(clouds))
        settings["data"] = {"kind": clouds["kind"]} | {field: clouds[field] for field in kept}
    train = settings.get("train")
    if isinstance(train, Mapping) and train.get("num_steps") is not None:  # then epochs is unused, and was null
        settings["train"] = {name: value for name, value in train.items() if name != "epochs"}
    return settings


def _with_variants(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which `variant: official` is replaced by its present name, `released`."""
    return {
        key: _with_variants(value)
        if isinstance(value, Mapping)
        else "released"
        if (key, value) == ("variant", "official")
        else value
        for key, value in settings.items()
    }
