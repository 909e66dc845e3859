"""What a vision transformer attends to: attention maps, how far they reach, and how positions are told apart.

(Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021, figure 7; Kataoka et al., CVPR 2022.)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

__all__ = ["attention_maps", "attention_reach", "first_filters", "is_plain", "patch_grid", "position_similarity"]


def first_filters(model: nn.Module) -> Tensor:
    """[K, C, h, w], weights of the first convolution: the patch embedding of a ViT, the stem of others.

    Raises:
        ValueError: If there is none.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.weight.detach().cpu().float()
    raise ValueError(f"{type(model).__name__} has no convolution, so no filters to show")


def patch_grid(model: Any) -> tuple[int, int]:
    """Rows and columns of a ViT's patches."""
    height, width = model.patch_embed.grid_size
    return height, width


def position_similarity(model: Any) -> Tensor:
    """[h * w, h * w], cosine similarity of the position embeddings of patches, row-major.

    Raises:
        ValueError: If the network has no learned absolute position embedding.
    """
    embedding = getattr(model, "pos_embed", None)
    if not isinstance(embedding, Tensor) or embedding.ndim != 3:
        raise ValueError(f"{type(model).__name__} has no learned position embedding [1, N, C]")
    height, width = patch_grid(model)
    patches = F.normalize(embedding[0, -height * width :].detach().cpu().float(), dim=1)
    return patches @ patches.T


def is_plain(model: nn.Module) -> bool:
    """Whether a network is a ViT or DeiT of timm whose positions are added before its blocks, once and for all.

    Others may have blocks that look alike, but turn queries and keys by position, or mix heads, within the attention.
    """
    return isinstance(model, VisionTransformer) and isinstance(model.pos_embed, Tensor)


@torch.no_grad()
def attention_maps(model: Any, images: Tensor) -> Tensor:
    """Softmax attention of every block, [L, B, heads, T, T]; row t says what token t attends to.

    Args:
        model: A ViT of timm, in evaluation mode. Its own attention may be fused, so it is computed beside it.
        images: [B, C, size, size], as the network takes them.

    Raises:
        ValueError: If its attention is another than that of queries and keys alone.
    """
    blocks: list[Any] = [getattr(block, "attn", None) for block in model.blocks] if is_plain(model) else []
    if not blocks or not all(hasattr(block, "qkv") for block in blocks):
        raise ValueError(f"{type(model).__name__} has no plain attention in its blocks; give a ViT or DeiT of timm")
    with _inputs_of(blocks) as inputs:
        model(images)
    return torch.stack([_attention(block, tokens) for block, tokens in zip(blocks, inputs, strict=True)])


def attention_reach(attention: Tensor, grid: tuple[int, int], *, patch_size: float) -> Tensor:
    """Mean distance between a patch and what it attends to, [L, heads], in pixels of the network's input.

    Args:
        attention: [L, B, heads, T, T]; the last h * w of the T tokens are patches, row-major. Attention to other tokens
            is left out, and the rest brought to sum 1.
        grid: (h, w).
        patch_size: Pixels between patches.

    >>> far = torch.eye(4).flip(0).expand(1, 1, 1, 4, 4)
    >>> attention_reach(far, (2, 2), patch_size=1).item().__round__(3)
    1.414
    """
    num_patches = grid[0] * grid[1]
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], 1).float() * patch_size
    distances = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")
    among = attention[..., -num_patches:, -num_patches:].float().cpu()
    among = among / among.sum(-1, keepdim=True).clamp(min=1e-12)
    return (among * distances).sum(-1).mean((1, 3))


@contextmanager
def _inputs_of(modules: list[nn.Module]) -> Iterator[list[Tensor]]:
    """Within, what the modules are called with is collected."""
    inputs: list[Tensor] = []
    handles = [module.register_forward_pre_hook(lambda _, args: inputs.append(args[0])) for module in modules]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()


def _attention(module: Any, tokens: Tensor) -> Tensor:
    batch, num_tokens, _ = tokens.shape
    projected = module.qkv(tokens).reshape(batch, num_tokens, 3, module.num_heads, -1).permute(2, 0, 3, 1, 4)
    queries, keys = module.q_norm(projected[0]), module.k_norm(projected[1])
    return (queries * module.scale @ keys.transpose(-2, -1)).softmax(-1).cpu()
