"""The decoder and the language model on it, as transformers wants them."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import slice_logits_to_keep
from transformers.utils import can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from everlearn.errors import ConversationError
from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.experts import ApertisExperts, ApertisRouter
from everlearn.models.apertis.full import ApertisAttention
from everlearn.models.apertis.heads import ApertisAheadHead, ahead_loss
from everlearn.models.apertis.initial import inverse_softplus, spread
from everlearn.models.apertis.latent import ApertisLatentAttention
from everlearn.models.apertis.layer import ApertisDecoderLayer, Surroundings
from everlearn.models.apertis.linear import ApertisDeltaNet
from everlearn.models.apertis.norm import RMSNorm
from everlearn.models.apertis.positions import RotaryEmbedding, alibi_mask, count_positions, text_starts
from everlearn.models.apertis.recurrent import ApertisRecurrentCell
from everlearn.models.apertis.vision import ApertisPatchEmbedding, with_images


class ApertisPreTrainedModel(PreTrainedModel):
    """What transformers has to know of every model of the family."""

    config: ApertisConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ApertisDecoderLayer"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _keep_in_fp32_modules_strict = ["e_score_correction_bias"]  # noqa: RUF012
    _can_record_outputs = {  # noqa: RUF012
        "hidden_states": ApertisDecoderLayer,
        "attentions": [OutputRecorder(ApertisAttention, index=1), OutputRecorder(ApertisLatentAttention, index=1)],
        "router_logits": OutputRecorder(ApertisRouter, index=0),
    }

    @classmethod
    def _can_set_experts_implementation(cls) -> bool:
        """Says yes: transformers looks for the decorator in this file; it is in `experts`."""
        return True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, ApertisRouter):
            init.normal_(module.weight, mean=0.0, std=std)
            init.zeros_(module.e_score_correction_bias)
            init.zeros_(module.load)
        elif isinstance(module, ApertisExperts):
            init.normal_(module.gate_up_proj, mean=0.0, std=std)
            init.normal_(module.down_proj, mean=0.0, std=std)
        elif isinstance(module, ApertisDeltaNet):
            init.copy_(module.A_log, torch.empty(module.values).uniform_(1, 16).log())
            init.copy_(module.dt_bias, inverse_softplus(spread(module.values, 1e-3, 1e-1)))
        elif isinstance(module, ApertisRecurrentCell):
            init.copy_(module.factor_bias, torch.atanh(1 - spread(module.heads, 1e-3, 1e-1)))
            init.ones_(module.skip)


class ApertisModel(ApertisPreTrainedModel):
    """The decoder: tokens in, hidden states out."""

    def __init__(self, config: ApertisConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        kinds = zip(config.layer_types, config.mlp_layer_types, strict=True)
        self.layers = nn.ModuleList(ApertisDecoderLayer(config, n, *kind) for n, kind in enumerate(kinds))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = RotaryEmbedding(config, config.head_dim)
        self.latent_rotary_emb = RotaryEmbedding(config, config.qk_rope_head_dim)
        self.vision = ApertisPatchEmbedding(config) if config.vision_patch_size else None
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(  # noqa: PLR0917  transformers' names and order
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> BaseModelOutputWithPast:
        """Reads tokens after those of the cache.

        Args:
            input_ids: [B, T] long; or else inputs_embeds.
            attention_mask: [B, S] with 0 for padding on the left, S = tokens of the cache + T; or None; or a mask
                [B, 1, T, S] made by the caller.
            position_ids: [B, T] long; counted from the mask by default. Without a mask and a cache a row may hold
                several texts, each of which begins where the positions do not go on; they do not see each other.
            past_key_values: cache; grows. Made where use_cache is wanted and none is given.
            inputs_embeds: [B, T, D].
            use_cache: whether to return a cache.
            pixel_values: [N, channels * side * side], patches for the image tokens of input_ids, in their order.
            image_sizes: [I, 2] long, rows and columns of patches of each image.
            **kwargs: for transformers' attention functions.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Exactly one of input_ids and inputs_embeds must be given.")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if pixel_values is not None:
            inputs_embeds = self._seen(inputs_embeds, input_ids, pixel_values, image_sizes)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if position_ids is None:
            position_ids = count_positions(inputs_embeds, attention_mask, past_key_values)
        around = self.surroundings(inputs_embeds, attention_mask, position_ids, past_key_values)
        hidden_states = inputs_embeds
        for layer in self.layers:
            hidden_states = layer(hidden_states, surroundings=around, past_key_values=past_key_values, **kwargs)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_states), past_key_values=past_key_values)

    def _seen(self, embeds: Tensor, ids: Tensor | None, pixel_values: Tensor, image_sizes: Tensor | None) -> Tensor:
        token = self.config.image_token_id
        if self.vision is None or token is None or ids is None or image_sizes is None:
            raise ConversationError(
                "Images need a model with vision_patch_size, input_ids, and image_sizes.",
                hint="Use the processor, and a model that was trained on images.",
            )
        return with_images(embeds, ids, self.vision(pixel_values, image_sizes), token)

    def surroundings(
        self, embeds: Tensor, attention_mask: Tensor | None, position_ids: Tensor, cache: Cache | None
    ) -> Surroundings:
        """Returns masks and rotations for places [B, T] that follow those of the cache."""
        kinds = set(self.config.layer_types)
        alibi = self.config.position == "alibi"
        mask = None
        if kinds & {"full", "latent"} or self.config.mtp_depth:
            mask = create_causal_mask(
                config=self.config,
                inputs_embeds=embeds,
                attention_mask=attention_mask,
                past_key_values=cache,
                position_ids=position_ids,
                allow_is_causal_skip=not alibi,
            )
        if mask is not None and alibi:
            visible = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
            mask = alibi_mask(self.config.num_attention_heads, visible, embeds.dtype)
        padding = attention_mask.bool() if attention_mask is not None and attention_mask.ndim == 2 else None
        if padding is not None and bool(padding.all()):
            padding = None
        return Surroundings(
            mask=mask,
            padding=padding,
            starts=text_starts(position_ids) if attention_mask is None and cache is None else None,
            rotation=None if alibi else self.rotary_emb(embeds, position_ids),
            latent_rotation=self.latent_rotary_emb(embeds, position_ids) if "latent" in kinds else None,
        )


class ApertisForCausalLM(ApertisPreTrainedModel, GenerationMixin):
    """The language model."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012
    _tp_plan = {"lm_head": "colwise_gather_output"}  # noqa: RUF012
    _pp_plan = {"lm_head": (["hidden_states"], ["logits"])}  # noqa: RUF012

    def __init__(self, config: ApertisConfig) -> None:
        super().__init__(config)
        self.model = ApertisModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.ahead = nn.ModuleList(ApertisAheadHead(config) for _ in range(config.mtp_depth))
        self._is_stateful = config.keeps_states
        self.post_init()

    @can_return_tuple
    def forward(  # noqa: PLR0913, PLR0917  transformers' names and order
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> CausalLMOutputWithPast:
        """Predicts the next token at each place.

        Args:
            input_ids: [B, T] long; or else inputs_embeds.
            attention_mask: as in the decoder.
            position_ids: as in the decoder.
            past_key_values: as in the decoder.
            inputs_embeds: [B, T, D].
            use_cache: whether to return a cache.
            labels: [B, T] long, the tokens themselves; -100 where nothing is to be learned.
            logits_to_keep: how many of the last places to predict at, or which; 0: all.
            pixel_values: as in the decoder.
            image_sizes: as in the decoder.
            **kwargs: `num_items_in_batch` for the loss; the rest for transformers' attention functions.

        Returns:
            logits [B, T, V], the loss where labels are given, and the cache. While training, the loss holds that of the
            heads that look further ahead, weighted by mtp_loss_weight.
        """
        outputs: BaseModelOutputWithPast = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            pixel_values=pixel_values,
            image_sizes=image_sizes,
            **kwargs,
        )
        hidden_states = outputs.last_hidden_state
        logits = self.lm_head(slice_logits_to_keep(hidden_states, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
            if self.training and self.ahead:
                embeds = inputs_embeds if inputs_embeds is not None else self.model.embed_tokens(input_ids)
                ahead = self._ahead_loss(hidden_states, embeds, labels, position_ids)
                loss = loss + self.config.mtp_loss_weight * ahead
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def prepare_inputs_for_generation(
        self,
        *args: Any,  # noqa: ANN401
        is_first_iteration: bool | None = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        """As transformers does it; images are read once, with the prompt."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            *args, is_first_iteration=is_first_iteration, **kwargs
        )
        if not is_first_iteration and inputs.get("use_cache", True):
            inputs["pixel_values"] = inputs["image_sizes"] = None
        return inputs

    def _ahead_loss(self, hidden_states: Tensor, embeds: Tensor, labels: Tensor, position_ids: Tensor | None) -> Tensor:
        """Returns the mean loss of the heads; rows are taken to begin at their first place, without padding."""
        losses = []
        for number, head in enumerate(self.ahead, start=1):
            count = embeds.shape[1] - number
            if count < 2:  # nothing stands that far ahead
                break
            places = torch.arange(count, device=embeds.device)[None]
            places = places if position_ids is None else position_ids[:, :count]
            around = self.model.surroundings(embeds[:, :count], None, places, None)
            hidden_states = head(hidden_states[:, :count], embeds[:, number:], around)
            losses.append(ahead_loss(self.lm_head(hidden_states), labels, number + 1))
        return torch.stack(losses).mean() if losses else hidden_states.new_zeros(())
