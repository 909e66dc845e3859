"""MoCo v2 and SimCLR: two views of a picture are to be told from those of others."""

import copy

import torch
import torch.distributed as dist
import torch.nn.functional as F
from lightly.loss.ntx_ent_loss import NTXentLoss
from lightly.models.modules.heads import MoCoProjectionHead, SimCLRProjectionHead
from lightly.models.utils import update_momentum
from torch import Tensor, nn

from pcfdsl.train.tasks.self_supervised.settings import MoCo, SimCLR

__all__ = ["MoCoNetwork", "SimCLRNetwork"]

_CHANNELS = 128  # of what is compared, in both papers
_GROUPS, _LEAST = 8, 8


class MoCoNetwork(nn.Module):
    """A network, its slow twin, and the queue of what the twin made of earlier pictures; all are in checkpoints.

    Args:
        trunk: timm's network without a classifier.
        width: Channels of its features.
        config: Settings of the method.
        updates: How often it is called in a step; the twin moves by `momentum` over all of them.
    """

    queue: Tensor
    position: Tensor

    def __init__(self, trunk: nn.Module, width: int, config: MoCo, *, updates: int = 1):
        super().__init__()
        self.trunk, self.head = trunk, MoCoProjectionHead(width, width, _CHANNELS)
        self.twin = copy.deepcopy(nn.Sequential(trunk, self.head)).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(config.queue, _CHANNELS), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.momentum, self.temperature = config.momentum ** (1 / updates), config.temperature

    def forward(self, views: Tensor) -> Tensor:
        """[B, 2, C, H, W] -> logits [B, 1 + queue], of which the first is the right one; the keys go into the queue."""
        queries = F.normalize(self.head(self.trunk(views[:, 0])).float(), dim=1)
        with torch.no_grad():
            update_momentum(self.trunk, self.twin[0], self.momentum)
            update_momentum(self.head, self.twin[1], self.momentum)
            keys = F.normalize(self._keys(views[:, 1]).float(), dim=1)
        earlier = self.queue.clone()  # it changes before the gradient is taken
        logits = torch.cat([(queries * keys).sum(1, keepdim=True), queries @ earlier.T], 1) / self.temperature
        self._enqueue(keys)
        return logits

    def _keys(self, images: Tensor) -> Tensor:
        """The twin's features, in shuffled groups: batch norm would give away which are of the same batch."""
        order = torch.randperm(len(images), device=images.device)
        groups = order.chunk(max(1, min(_GROUPS, len(images) // _LEAST)))
        return torch.cat([self.twin(images[group]) for group in groups])[order.argsort()]

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        if dist.is_initialized() and dist.get_world_size() > 1:
            parts = [torch.empty_like(keys) for _ in range(dist.get_world_size())]
            dist.all_gather(parts, keys)
            keys = torch.cat(parts)
        size = len(self.queue)
        keys = keys[-size:]
        rows = (self.position + torch.arange(len(keys), device=keys.device)) % size
        self.queue[rows] = keys
        self.position.copy_((self.position + len(keys)) % size)


class SimCLRNetwork(nn.Module):
    """A network under the head of three layers that SimCLR v2 has; arguments as for `MoCoNetwork`."""

    def __init__(self, trunk: nn.Module, width: int, config: SimCLR):
        super().__init__()
        self.trunk, self.head = trunk, SimCLRProjectionHead(width, width, _CHANNELS, num_layers=3)
        self.compare = NTXentLoss(config.temperature, gather_distributed=True)

    def forward(self, views: Tensor) -> Tensor:
        """[B, 2, C, H, W] -> projections [2, B, 128]."""
        return self.head(self.trunk(views.transpose(0, 1).flatten(0, 1))).float().unflatten(0, (2, -1))
