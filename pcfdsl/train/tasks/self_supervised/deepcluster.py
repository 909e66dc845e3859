"""DeepCluster: a network learns to which cluster of its own features a picture belongs, and is clustered anew."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pcfdsl.evaluate.processes import Processes
from pcfdsl.rng import stream
from pcfdsl.samples.images import ImageDataset, collate_images
from pcfdsl.samples.picture_views import PictureViews

__all__ = ["DeepClusterNetwork", "balanced_rows", "cluster", "start_epoch"]

_COMPONENTS = 256  # that features are reduced to, at most
_PICTURES = 8  # for each component: whitening by fewer makes all pictures equally far from each other
_BATCH = 256


class DeepClusterNetwork(nn.Module):
    """A network under a classifier of clusters, and the cluster of every picture, which is in checkpoints.

    Args:
        trunk: timm's network without a classifier.
        width: Channels of its features.
        num_clusters: How many there are.
        num_pictures: Pictures in the training set.
    """

    clusters: Tensor
    epoch: Tensor

    def __init__(self, trunk: nn.Module, width: int, num_clusters: int, num_pictures: int):
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(width, num_clusters)
        self.register_buffer("clusters", torch.zeros(num_pictures, dtype=torch.int64))
        self.register_buffer("epoch", torch.full((), -1, dtype=torch.int64))  # that the clusters were made for

    def forward(self, views: Tensor) -> Tensor:
        """[B, 1, C, H, W] -> logits [B, clusters]."""
        return self.head(self.trunk(views[:, 0]))


class ClusteredViews(PictureViews):
    """Views with the pictures' clusters as labels; every cluster is drawn equally often in an epoch."""

    def __init__(self, *args: Any, **others: Any):
        super().__init__(*args, **others)
        self.rows = self.clusters = np.zeros(len(self), np.int64)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        """([1, C, size, size] float32, cluster)."""
        epoch, i = key
        row = int(self.rows[i])
        return self.views(row, stream(self.seed, "views", epoch, i)), int(self.clusters[row])


def start_epoch(views: ClusteredViews, network: Any, epoch: int, group: Processes) -> None:
    """Cluster the pictures by the network's features, start its classifier anew, and set what the epoch draws.

    `network` is a DeepClusterNetwork. Where the clusters of this epoch are there already, as in a run that resumes,
    only the latter is done.
    """
    if network.epoch.item() != epoch:
        features = _features(network.trunk, views, group)
        seed = int(stream(views.seed, "clusters", epoch).integers(2**31))
        network.clusters.copy_(torch.from_numpy(cluster(features, network.head.out_features, seed=seed)))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            network.head.weight.copy_(0.01 * torch.randn(network.head.weight.shape, generator=generator))
            network.head.bias.zero_()
        network.epoch.fill_(epoch)
    views.clusters = network.clusters.cpu().numpy()
    views.rows = balanced_rows(views.clusters, stream(views.seed, "balanced", epoch))


def cluster(features: np.ndarray, num_clusters: int, *, seed: int) -> np.ndarray:
    """[N] int64: clusters of features [N, F] after PCA, whitening and scaling to unit length."""
    import faiss

    reduced = np.ascontiguousarray(_whitened(features.astype(np.float64)), np.float32)
    kmeans = faiss.Kmeans(
        reduced.shape[1],
        num_clusters,
        niter=20,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(reduced),  # all of them: faiss would take a part otherwise
    )
    kmeans.train(reduced)
    return kmeans.assign(reduced)[1].astype(np.int64)


def balanced_rows(clusters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[N] int64: as many rows as there are pictures, as equally shared by the clusters as can be; shuffled by the loop.

    Pictures of small clusters come several times, and not all of large ones come.
    """
    order = rng.permutation(len(clusters))
    order = order[np.argsort(clusters[order], kind="stable")]
    members = np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)
    counts = np.full(len(members), len(clusters) // len(members))
    counts[rng.permutation(len(members))[: len(clusters) % len(members)]] += 1
    return np.concatenate([np.resize(own, count) for own, count in zip(members, counts, strict=True)])


def _features(trunk: nn.Module, views: PictureViews, group: Processes) -> np.ndarray:
    samples = ImageDataset(views.pictures, view=views.view)
    device = next(trunk.parameters()).device

    def of(rows: range) -> tuple[np.ndarray]:
        return (trunk(collate_images([samples[i] for i in rows]).images.to(device)).float().cpu().numpy(),)

    return group.in_batches(of, len(samples), _BATCH)[0]


def _whitened(features: np.ndarray) -> np.ndarray:
    """[N, F] -> [N, up to 256], of unit length; directions in which hardly anything varies are left out."""
    centred = features - features.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    num = min(_COMPONENTS, max(2, len(features) // _PICTURES))
    values, vectors = values[::-1][:num], vectors[:, ::-1][:, :num]
    kept = values > 1e-6 * max(values[0], 1e-12)
    reduced = centred @ vectors[:, kept] / np.sqrt(values[kept])
    return reduced / np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-12)
