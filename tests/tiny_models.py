"""Settings of tiny models that several rooms of tests make."""

TINY_BERT = {
    "block": "bert",
    "activation": "gelu",
    "norm_eps": 1e-12,
    "num_kv_heads": 4,
    "pooling": "mean",
    "head": "none",
    "final_norm": "none",
    "padding_side": "right",
    "query_template": "{cls}{text}{sep}",
    "code_template": "{cls}{text}{sep}",
}
