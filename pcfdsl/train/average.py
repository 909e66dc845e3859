"""Exponential moving average of a network's weights."""

import copy
from typing import Any

import torch
from torch import nn

__all__ = ["MovingAverage"]


class MovingAverage:
    """A copy of a network that follows it slowly; buffers such as running statistics are averaged too.

    Args:
        model: The network to follow.
        decay: Share of the old average that stays at each step; less in the first steps: (1 + t) / (10 + t).
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._decay, self._updates = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the network's present weights in; call it after each step."""
        share = 1 - min(self._decay, (1 + self._updates) / (10 + self._updates))
        self._updates += 1
        for own, new in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if own.is_floating_point():
                own.lerp_(new.to(own.dtype), share)
            else:
                own.copy_(new)

    def state_dict(self) -> dict[str, Any]:
        """Everything `load_state_dict` needs."""
        return {"model": self.model.state_dict(), "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.model.load_state_dict(state["model"])
        self._updates = state["updates"]
