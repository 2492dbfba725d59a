"""What people call the settings of a model."""

# What dataclasses call the fields of a model, compared in lower case and without underscores. A
# name in two rows belongs to the first whose setting has no other home.
ALIASES = {
    "vocab_size": "vocab_size n_vocab vocab num_embeddings vocabulary_size num_tokens n_tokens ntoken "
    "ntokens n_token num_vocab voc_size vocab_len vocabulary",
    "max_seq_len": "max_seq_len max_seq_length max_sequence_length max_len max_length seq_len "
    "seq_length sequence_length sequence_len seqlen max_seqlen maxlen max_sequence_len block_size "
    "context_length context_len context_size context max_context_length ctx_len ctx_length n_ctx max_t "
    "n_positions max_positions max_position max_position_embeddings",
    "dim": "dim d_model n_embd hidden_size embed_dim embedding_dim emb_dim model_dim width",
    "layers_count": "layers_count n_layers num_layers n_layer layers num_hidden_layers depth",
    "heads_count": "heads_count n_heads num_heads n_head heads num_attention_heads",
    "ffn_hidden": "ffn_hidden ffn_hidden_dim ffn_hidden_size ffn_dim hidden_dim expert_hidden "
    "expert_hidden_dim expert_hidden_size expert_dim expert_ffn_dim moe_hidden moe_hidden_dim "
    "d_ff ff_dim intermediate_size mlp_dim mlp_hidden feed_forward_dim hidden",
    "experts_count": "experts_count n_experts num_experts experts num_local_experts moe_experts "
    "moe_num_experts n_routed_experts",
    "experts_active": "experts_active top_k topk k moe_top_k experts_top_k expert_top_k "
    "num_experts_per_tok experts_per_token n_active_experts num_active_experts",
    "rotary_dim": "rotary_dim rotary_dims rope_dim rot_dim rotary_embedding_dim",
    "rotary_base": "rotary_base rope_base rope_theta rotary_theta",
    "dropout": "dropout dropout_p dropout_rate drop_rate p_dropout attn_dropout "
    "attention_dropout resid_dropout residual_dropout ffn_dropout expert_dropout",
    "norm_eps": "norm_eps rms_norm_eps rms_eps layer_norm_eps eps",
    "is_head_tied": "is_head_tied tie_weights tie_word_embeddings tie_embeddings tied",
}
ESSENTIAL = (
    "vocab_size max_seq_len dim layers_count heads_count ffn_hidden experts_count experts_active"
).split()


def plain(name):
    return name.lower().replace("_", "")


def spec_key(name):
    """The spec's field that a dataclass's field `name` is; None when it is none."""
    for key, names in ALIASES.items():
        if plain(name) in map(plain, names.split()):
            return key
    return None

def match_names(names):
    """{name: spec key} of those that people use for a setting."""
    matched = {name: spec_key(name) for name in names if spec_key(name) is not None}
    if "dim" not in matched.values():
        # `hidden_dim` is the model's own width where no other name is, and the experts' is there
        rivals = [name for name, key in matched.items() if key == "ffn_hidden"]
        if len(rivals) > 1 and "hidden_dim" in rivals:
            matched["hidden_dim"] = "dim"
    return matched

def vocabulary_of_config(config):
    """Of a configuration under any of its names; None where it has none."""
    if config is None:
        return None
    names = list(config) if isinstance(config, dict) else dir(config)
    for name in sorted(names, key=lambda name: name != "vocab_size"):
        if not name.startswith("_") and spec_key(name) == "vocab_size":
            value = config[name] if isinstance(config, dict) else getattr(config, name, None)
            if type(value) is int and value > 0:
                return value
    return None
