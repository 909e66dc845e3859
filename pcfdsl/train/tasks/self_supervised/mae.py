"""A masked autoencoder: a ViT sees some patches of a picture, a small decoder fills in the others."""

import torch
from lightly.models.modules.masked_vision_transformer_decoder_timm import MaskedVisionTransformerDecoderTIMM
from lightly.models.modules.masked_vision_transformer_timm import MaskedVisionTransformerTIMM
from lightly.models.utils import (
    get_at_index,
    normalize_mean_var,
    patchify,
    random_token_mask,
    repeat_token,
    set_at_index,
)
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pcfdsl.config import ConfigError
from pcfdsl.train.tasks.self_supervised.settings import MAE

__all__ = ["MAENetwork"]


class MAENetwork(nn.Module):
    """A ViT of timm and a decoder.

    Args:
        trunk: The ViT, without a classifier.
        config: Settings of the method.
        fresh: Whether the ViT is to have MAE's own random weights, and its fixed position embedding.

    Raises:
        ConfigError: If it is no ViT with a class token, or with other tokens before the patches.
    """

    def __init__(self, trunk: nn.Module, config: MAE, *, fresh: bool):
        super().__init__()
        if not isinstance(trunk, VisionTransformer) or trunk.num_prefix_tokens != 1:
            problem = (
                "mae hides patches of a ViT with a class token, which this network is not; take one such as vit_..."
            )
            raise ConfigError([("model.name", problem)])
        weights, positions = ("", "sincos") if fresh else ("skip", "skip")
        self.encoder = MaskedVisionTransformerTIMM(
            trunk, weight_initialization=weights, pos_embed_initialization=positions
        )
        self.encoder.mask_token.requires_grad_(False)  # what is hidden from the encoder is left out, not replaced
        self.mask = config.mask
        width, patches = config.decoder_width, trunk.patch_embed.num_patches
        self.patch_size = trunk.patch_embed.patch_size[0]
        channels = trunk.patch_embed.proj.in_channels
        self.embed = nn.Linear(trunk.embed_dim, width)
        self.decoder = MaskedVisionTransformerDecoderTIMM(patches, width, config.decoder_depth, num_heads=width // 32)
        self.predict = nn.Linear(width, self.patch_size**2 * channels)

    @property
    def trunk(self) -> nn.Module:
        """The ViT."""
        return self.encoder.vit

    def hidden(self, num_pictures: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Tokens that are seen [B, K], with the class token, and patches that are hidden [B, M], counted from 1."""
        shape = num_pictures, self.encoder.sequence_length
        return random_token_mask(shape, self.mask, device=device)

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1, C, H, W] -> what is made up for hidden patches [B, M, values], and what they are, each normalised."""
        images = views[:, 0]
        seen, hidden = self.hidden(len(images), images.device)
        encoded = self.embed(self.encoder.encode(images, idx_keep=seen))
        tokens = repeat_token(self.decoder.mask_token, (len(images), self.encoder.sequence_length))
        decoded = self.decoder(set_at_index(tokens, seen, encoded.type_as(tokens)))
        made_up = self.predict(get_at_index(decoded, hidden))
        truth = get_at_index(patchify(images, self.patch_size), hidden - 1)
        return made_up.float(), normalize_mean_var(truth)
