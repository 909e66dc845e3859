"""Features of clouds as pictures: principal components as colours of points, nearest neighbours of whole clouds."""

from collections.abc import Sequence

import numpy as np

from pcfdsl.view.page import PageItem

__all__ = ["feature_items", "nearest_clouds", "pca_colors"]

NUM_NEIGHBORS = 4
_FITTED = 8192  # rows that the principal components are computed from


def feature_items(
    clouds: Sequence[np.ndarray], features: Sequence[np.ndarray], *, names: Sequence[str]
) -> list[PageItem]:
    """Items of a page or a sheet.

    Args:
        clouds: [N, 3] points each.
        features: [N, C] each: every cloud once, coloured by components that all clouds share, so that similar parts
            have similar colours. Or [C] each: every cloud followed by the `NUM_NEIGHBORS` clouds most similar to it,
            or by all others where there are fewer.
        names: One per cloud.
    """
    if features[0].ndim == 2:
        colors = np.split(pca_colors(np.concatenate(features)), np.cumsum([len(cloud) for cloud in clouds])[:-1])
        return [
            PageItem(points=cloud, colors=own, caption=name)
            for cloud, own, name in zip(clouds, colors, names, strict=True)
        ]
    items = []
    for k, neighbors in enumerate(nearest_clouds(np.stack(features), num=NUM_NEIGHBORS)):
        items.append(PageItem(points=clouds[k], caption=names[k]))
        items += [PageItem(points=clouds[n], caption=f"like {names[k]}: {names[n]}") for n in neighbors]
    return items


def pca_colors(features: np.ndarray) -> np.ndarray:
    """Colours [N, 3] uint8 of features [N, C]: three principal components, each from its 2nd to its 98th percentile."""
    centred = features - features.mean(0)
    axes = np.linalg.svd(centred[:: max(1, len(centred) // _FITTED)], full_matrices=False)[2][:3]
    components = centred @ axes.T
    components = np.pad(components, ((0, 0), (0, 3 - components.shape[1])))
    low, high = np.percentile(components, (2, 98), axis=0)
    return (255 * ((components - low) / np.maximum(high - low, 1e-12)).clip(0, 1)).astype(np.uint8)


def nearest_clouds(features: np.ndarray, *, num: int) -> np.ndarray:
    """Indices of the clouds most similar to each cloud, most similar first: [K, C] -> [K, min(num, K - 1)] int64.

    Similarity is the cosine between features from which the mean over all clouds is subtracted.
    """
    centred = features - features.mean(0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    return np.argsort(-alike, axis=1, kind="stable")[:, : min(num, len(features) - 1)]
