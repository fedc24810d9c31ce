"""Configuration of the Apertis family."""

from __future__ import annotations

from typing import Any, Literal, cast

from transformers import PreTrainedConfig

from everlearn.errors import SettingsError

LAYER_KINDS = ("full", "block_sparse", "linear", "latent", "recurrent")
MLP_KINDS = ("dense", "experts")
DERIVED = cast("Any", None)  # a field without a value of its own until the others are known
STATE_KINDS = ("linear", "recurrent")  # their memory of the past is a state of constant size, not keys and values


class ApertisConfig(PreTrainedConfig):
    """Everything that shapes a model of the family. What is None is derived from the other fields.

    Attributes:
        layer_types: kind of each layer's mixer, L names out of `LAYER_KINDS`; all "full" by default.
        mlp_layer_types: kind of each layer's MLP, L names out of `MLP_KINDS`; all "dense" by default.
        rope_parameters: as in transformers: `rope_type` "default", "linear", "dynamic", "yarn", "longrope", "llama3".
        position: "rope", or "alibi" (distances lower the scores; no rotation). ALiBi goes with "full" layers.
        position_group: so many neighbouring tokens share one position: with 4 a model trained on 2,048 tokens reads
            8,192 at positions it knows.
        qk_norm: RMSNorm on each head's query and key, as in Qwen3.
        attention_gate: outputs of the heads are multiplied by sigmoid(Wx), as in Qwen3-Next.
        block_size, selected_blocks, local_blocks: `block_sparse`: tokens of a block, how many blocks each token
            selects by content, and how many it always reads up to its own. It always reads the first block.
        linear_*: `linear`: heads and widths of the gated delta rule; `linear_conv_kernel_dim` serves `recurrent`, too.
        recurrent_*: `recurrent`: heads, values of a head, and width of a head's state.
        kv_lora_rank, q_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim: `latent`, named as in DeepSeek-V3.
        num_experts, num_experts_per_tok, moe_intermediate_size, n_shared_experts, routed_scaling_factor,
            norm_topk_prob: `experts`, named as in DeepSeek-V3.
        router_bias_rate: step of the rule that balances the experts; 0 stops it.
        mtp_depth: heads that predict tokens further ahead: 1 predicts the token after the next one.
        mtp_loss_weight: share of their loss.
        vision_patch_size: side of an image patch in pixels; 0: no images.
        vision_channels: of an image.
        image_token_id: stands for one patch in the text.
        pooling: how a joint space gathers the tokens of an image or text: "last", or "capsules" (experimental).
    """

    model_type = "apertis"
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012  transformers reads a list
    attribute_map = {"num_local_experts": "num_experts"}  # noqa: RUF012
    base_model_tp_plan = {  # noqa: RUF012
        "layers.*.self_attn.q_proj": "colwise",
        "layers.*.self_attn.k_proj": "colwise",
        "layers.*.self_attn.v_proj": "colwise",
        "layers.*.self_attn.o_proj": "rowwise",
        "layers.*.mlp.gate_proj": "colwise",
        "layers.*.mlp.up_proj": "colwise",
        "layers.*.mlp.down_proj": "rowwise",
    }
    base_model_pp_plan = {  # noqa: RUF012
        "embed_tokens": (["input_ids"], ["inputs_embeds"]),
        "layers": (["hidden_states", "attention_mask"], ["hidden_states"]),
        "norm": (["hidden_states"], ["hidden_states"]),
    }

    vocab_size: int = 32_000
    hidden_size: int = 512
    intermediate_size: int = 1_408
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    num_key_value_heads: int = DERIVED
    head_dim: int = DERIVED
    hidden_act: str = "silu"
    max_position_embeddings: int = 2_048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    tie_word_embeddings: bool = True
    attention_dropout: float = 0.0
    layer_types: list[str] = DERIVED
    mlp_layer_types: list[str] = DERIVED

    rope_parameters: dict[str, Any] = DERIVED
    position: Literal["rope", "alibi"] = "rope"
    position_group: int = 1
    qk_norm: bool = False
    attention_gate: bool = False

    block_size: int = 64
    selected_blocks: int = 8
    local_blocks: int = 2

    linear_num_key_heads: int = DERIVED
    linear_num_value_heads: int = DERIVED
    linear_key_head_dim: int = DERIVED
    linear_value_head_dim: int = DERIVED
    linear_conv_kernel_dim: int = 4

    recurrent_num_heads: int = DERIVED
    recurrent_head_dim: int = DERIVED
    recurrent_state_dim: int = DERIVED

    kv_lora_rank: int = DERIVED
    q_lora_rank: int | None = None
    qk_nope_head_dim: int = DERIVED
    qk_rope_head_dim: int = DERIVED
    v_head_dim: int = DERIVED

    num_experts: int = 32
    num_experts_per_tok: int = 8
    moe_intermediate_size: int = DERIVED
    n_shared_experts: int = 1
    routed_scaling_factor: float = 1.0
    norm_topk_prob: bool = True
    router_bias_rate: float = 1e-3

    mtp_depth: int = 0
    mtp_loss_weight: float = 0.3

    vision_patch_size: int = 0
    vision_channels: int = 3
    image_token_id: int | None = None
    pooling: Literal["last", "capsules"] = "last"

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401  whatever transformers stores in config.json
        """Derives what is None and refuses what cannot be built.

        Raises:
            SettingsError: the fields contradict each other.
        """
        self._derive_heads()
        self._derive_states()
        self._derive_latent()
        self.layer_types = list(self.layer_types or ["full"] * self.num_hidden_layers)
        self.mlp_layer_types = list(self.mlp_layer_types or ["dense"] * self.num_hidden_layers)
        if self.moe_intermediate_size is DERIVED:
            self.moe_intermediate_size = max(self.intermediate_size // self.num_experts_per_tok, 8)
        self._check_layers()
        self._check_sizes()
        super().__post_init__(**kwargs)

    def validate(self) -> None:
        """Checks the fields before they are saved. transformers' own check knows other kinds of layers than ours."""
        self.validate_output_attentions()
        self.validate_token_ids()
        self._check_layers()
        self._check_sizes()

    @property
    def keeps_states(self) -> bool:
        """Whether any layer remembers by a state, so that what was read cannot be cut off again."""
        return any(kind in STATE_KINDS for kind in self.layer_types or ())

    def _derive_heads(self) -> None:
        self.num_key_value_heads = self.num_key_value_heads or self.num_attention_heads
        self.head_dim = self.head_dim or self.hidden_size // self.num_attention_heads

    def _derive_states(self) -> None:
        """By default each state has as many heads and as wide ones as attention has."""
        self.linear_num_value_heads = self.linear_num_value_heads or self.num_attention_heads
        self.linear_num_key_heads = self.linear_num_key_heads or self.linear_num_value_heads
        self.linear_key_head_dim = self.linear_key_head_dim or self.head_dim
        self.linear_value_head_dim = self.linear_value_head_dim or self.head_dim
        self.recurrent_num_heads = self.recurrent_num_heads or self.num_attention_heads
        self.recurrent_head_dim = self.recurrent_head_dim or self.head_dim
        self.recurrent_state_dim = self.recurrent_state_dim or self.head_dim

    def _derive_latent(self) -> None:
        """By default the cache of a latent layer has 0.35 of the numbers that keys and values of all heads have."""
        self.qk_rope_head_dim = self.qk_rope_head_dim or max(self.head_dim // 4 * 2, 2)
        self.qk_nope_head_dim = self.qk_nope_head_dim or self.head_dim
        self.v_head_dim = self.v_head_dim or self.head_dim
        if self.kv_lora_rank is DERIVED:
            both = 2 * self.num_attention_heads * self.head_dim
            self.kv_lora_rank = max(round(0.35 * both / 8) * 8 - self.qk_rope_head_dim, 8)

    def _check_layers(self) -> None:
        for name, kinds in (("layer_types", LAYER_KINDS), ("mlp_layer_types", MLP_KINDS)):
            given = getattr(self, name)
            if len(given) != self.num_hidden_layers:
                raise SettingsError(
                    f"{name} names {len(given)} layers, num_hidden_layers is {self.num_hidden_layers}.",
                    hint="Give one name for each layer.",
                )
            if unknown := sorted(set(given) - set(kinds)):
                raise SettingsError(f"{name} holds {unknown[0]!r}.", hint=f"The kinds are {', '.join(kinds)}.")

    def _check_sizes(self) -> None:
        for name, whole, part in (
            ("num_attention_heads", self.num_attention_heads, self.num_key_value_heads),
            ("linear_num_value_heads", self.linear_num_value_heads, self.linear_num_key_heads),
            ("head_dim", self.head_dim, 2),
            ("qk_rope_head_dim", self.qk_rope_head_dim, 2),
        ):
            if whole % part:
                raise SettingsError(f"{name} is {whole}, not a multiple of {part}.", hint="Choose sizes that divide.")
        if self.position not in ("rope", "alibi"):
            raise SettingsError(f"position is {self.position!r}.", hint='Choose "rope" or "alibi".')
        if self.pooling not in ("last", "capsules"):
            raise SettingsError(f"pooling is {self.pooling!r}.", hint='Choose "last" or "capsules".')
        if self.position == "alibi" and {"latent", "block_sparse"} & set(self.layer_types or ()):
            raise SettingsError(
                "ALiBi is for layers of kind full; latent and block_sparse rotate.", hint='Choose position "rope".'
            )
        if self.attention_dropout and "block_sparse" in self.layer_types:
            raise SettingsError("block_sparse layers have no attention_dropout.", hint="Set attention_dropout to 0.")
        if self.vision_patch_size and self.image_token_id is None:
            raise SettingsError("vision_patch_size is set, image_token_id is not.", hint="Name the token of a patch.")
        if not 1 <= self.num_experts_per_tok <= self.num_experts:
            raise SettingsError(
                f"{self.num_experts_per_tok} of {self.num_experts} experts cannot be chosen.",
                hint="num_experts_per_tok is at least 1 and at most num_experts.",
            )
        if min(self.position_group, self.block_size, self.local_blocks) < 1 or self.selected_blocks < 0:
            raise SettingsError(
                "position_group, block_size and local_blocks are at least 1, selected_blocks at least 0.",
                hint="Leave them out for the defaults.",
            )
