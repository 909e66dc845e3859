"""Contrast between two views: PointInfoNCE (PointContrast, Xie et al. 2020) and CSC's partitions (Hou et al. 2021)."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcfdsl.models.backbone import BackboneConfig, PointFeatures, build_backbone
from pcfdsl.models.precision import at_least_float32
from pcfdsl.ops.interpolate import nearest

__all__ = ["Describer", "correspondences", "info_nce", "object_means", "partitioned_info_nce", "partitions"]


class Describer(nn.Module):
    """A backbone with a projection that pre-training throws away.

    Args:
        config: The backbone.
        widths: Channels of each layer of the projection, ReLU between them; none leaves the features as they are.
    """

    def __init__(self, config: BackboneConfig, widths: Sequence[int]):
        super().__init__()
        self.backbone_net = build_backbone(config)
        layers: list[nn.Module] = []
        for num_in, num_out in itertools.pairwise((config.num_features, *widths)):
            layers += [nn.Linear(num_in, num_out), nn.ReLU()]
        self.projection = nn.Sequential(*layers[:-1])

    def forward(self, points: Tensor) -> PointFeatures:
        """Points [B, N, 3 + C] -> the points that the backbone describes, with projected features."""
        described = self.backbone_net.describe(points)
        features = at_least_float32(self.projection(described.features))
        return PointFeatures(described.xyz, features, described.point_idx, described.scene_idx)


def correspondences(
    first: Tensor, second: Tensor, *, first_scene: Tensor, second_scene: Tensor, radius: float
) -> tuple[Tensor, Tensor]:
    """Points of two views that are each other's nearest, and near enough.

    Args:
        first: [M, 3] positions in the frame that both views of a scene share, metres.
        second: [K, 3] of the other views.
        first_scene: [M] int64; points correspond within a scene only.
        second_scene: [K] int64.
        radius: Metres; farther points do not correspond.

    Returns:
        Rows of `first` and of `second` [P] int64; no row occurs twice.
    """
    if not len(first_scene) or not len(second_scene):
        return first_scene.new_zeros(0), first_scene.new_zeros(0)
    num_scenes = 1 + int(torch.maximum(first_scene.max(), second_scene.max()))
    own, own_rows, own_counts = _by_scene(first, first_scene, num_scenes)
    other, other_rows, other_counts = _by_scene(second, second_scene, num_scenes)
    distance, match = nearest(own, other, lengths=other_counts.clamp(min=1))
    _, back = nearest(other, own, lengths=own_counts.clamp(min=1), trusted=True)
    slots = torch.arange(own.shape[1], device=first.device)
    mutual = (distance < radius) & (back.gather(1, match) == slots)
    mutual &= (slots < own_counts[:, None]) & (other_counts > 0)[:, None]
    scene, slot = mutual.nonzero(as_tuple=True)
    return own_rows[scene, slot], other_rows[scene, match[scene, slot]]


def _by_scene(positions: Tensor, scene: Tensor, num_scenes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Positions [B, N, 3] and their rows [B, N], in order and filled up with zeros, and how many there are [B]."""
    order = scene.argsort(stable=True)
    counts = torch.bincount(scene, minlength=num_scenes)
    scene = scene[order]
    place = torch.arange(len(order), device=scene.device) - (counts.cumsum(0) - counts)[scene]
    rows = order.new_zeros(num_scenes, int(counts.max()))
    rows[scene, place] = order
    padded = positions.new_zeros(*rows.shape, 3)
    padded[scene, place] = positions.detach()[order]
    return padded, rows, counts


def info_nce(queries: Tensor, keys: Tensor, *, temperature: float, symmetric: bool = False) -> tuple[Tensor, Tensor]:
    """PointInfoNCE: tell the key of each query from those of all others (PointContrast, equation 2).

    Args:
        queries: [P, C]; row i belongs to key i. Rows are scaled to unit length here.
        keys: [P, C].
        temperature: What similarities are divided by.
        symmetric: Also tell the query of each key, and take the mean; the released loss goes one way.

    Returns:
        The mean loss, and the share of queries whose own key is the most similar. Without pairs the loss is zero, with
        a gradient of zero.
    """
    if not len(queries):
        return 0.0 * (queries.sum() + keys.sum()), queries.new_zeros(())
    logits = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / temperature
    labels = torch.arange(len(queries), device=queries.device)
    loss = F.cross_entropy(logits, labels)
    if symmetric:
        loss = (loss + F.cross_entropy(logits.T, labels)) / 2
    return loss, (logits.detach().argmax(1) == labels).float().mean()


def object_means(described: PointFeatures, object_ids: Tensor, num_objects: int) -> tuple[Tensor, Tensor]:
    """Mean feature of the described points of every object.

    Args:
        described: M points with features.
        object_ids: [M] int64 in 0..num_objects - 1; -1 is of no object.
        num_objects: Number of objects in the batch.

    Returns:
        [num_objects, C] means, zero where nothing is described; [num_objects] number of points.
    """
    held = (object_ids >= 0).nonzero()[:, 0]
    ids = object_ids[held]
    sums = described.features.new_zeros(num_objects, described.features.shape[1])
    sums = sums.index_add(0, ids, described.features[held])
    counts = torch.bincount(ids, minlength=num_objects)
    return sums / counts.clamp(min=1)[:, None], counts


def partitions(positions: Tensor, *, shells: Sequence[float], num_azimuths: int, num_elevations: int) -> Tensor:
    """Where around each point the others lie (CSC's scene context): in which shell, azimuth and elevation.

    CSC's released code has shells and azimuths alike; for its second angle it takes that in the yz plane, folded to
    half a turn, where this takes the elevation.

    Args:
        positions: [P, 3] metres, z up.
        shells: Increasing radii, metres: shell k reaches from the k-th to the next one, the last one to infinity.
        num_azimuths: Equal sectors of the horizontal circle, the first from +x counter-clockwise.
        num_elevations: Equal sectors from straight down to straight up.

    Returns:
        [P, P] int64: the partition of point j around point i, below len(shells) * num_azimuths * num_elevations; -1
        where j is nearer than the first shell, as i itself is.
    """
    offsets = positions[None] - positions[:, None]
    x, y, z = offsets.unbind(2)
    distance = torch.linalg.vector_norm(offsets, dim=2)
    shell = torch.bucketize(distance, distance.new_tensor(shells), right=True) - 1
    shell.fill_diagonal_(-1)
    turn = torch.atan2(y, x) / (2 * torch.pi) % 1
    rise = torch.atan2(z, torch.hypot(x, y)) / torch.pi + 0.5
    azimuth = (turn * num_azimuths).long().clamp(max=num_azimuths - 1)
    elevation = (rise * num_elevations).long().clamp(max=num_elevations - 1)
    return torch.where(shell >= 0, (shell * num_azimuths + azimuth) * num_elevations + elevation, -1)


def partitioned_info_nce(
    queries: Tensor, keys: Tensor, partition: Tensor, *, num_partitions: int, temperature: float
) -> Tensor:
    """PointInfoNCE with the negatives of one partition at a time (CSC, Hou et al. 2021, equation 2).

    Args:
        queries: [P, C] of one scene; row i belongs to key i. Rows are scaled to unit length here.
        keys: [P, C].
        partition: [P, P] as `partitions` gives it; keys in partition -1 of a query are no negatives of it.
        num_partitions: How many there are.
        temperature: What similarities are divided by.

    Returns:
        [num_partitions] mean loss over the queries that have negatives in a partition; zero where none has.
    """
    logits = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / temperature
    own = logits.diagonal()
    losses = []
    for number in range(num_partitions):
        negative = partition == number
        others = logits.masked_fill(~negative, -torch.inf)
        value = torch.cat([own[:, None], others], 1).logsumexp(1) - own  # zero without negatives
        losses.append(value.sum() / negative.any(1).sum().clamp(min=1))
    return torch.stack(losses)
