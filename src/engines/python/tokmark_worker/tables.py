"""Made by the build (tools/worker_tables.c) from src/spec/cell.def and facts.def: not to be edited."""

# Of `open`: key, kind, limit (bytes of a text with its NUL, words, the least count), is it
# required. Absent means zero: the first word, an empty text.
CELL = (
    ("engine", "text", 1024, True),
    ("framework", "text", 1040, True),
    ("model", "model", None, True),
    ("model_source", "text", 32, True),
    ("model_ref", "text", 1024, False),
    ("options", "options", None, False),
    ("device", "text", 32, True),
    ("precision", "word", ("fp32", "tf32", "bf16", "bf16-pure", "fp16", "int8",), True),
    ("mode", "word", ("train", "infer", "decode",), True),
    ("seq_len", "count", 1, True),
    ("batch_size", "count", 1, True),
    ("threads", "count", 0, True),
    ("seed", "seed", 24, True),
    ("data", "word", ("synthetic", "auto", "uint16", "uint32", "text",), True),
    ("data_hash", "text", 18, True),
    ("weights_hash", "text", 18, True),
    ("data_path", "text", 1024, True),
    ("weights_path", "text", 1024, True),
    ("memory_check", "word", ("on", "off",), False),
)
OPTIONS = (
    ("moe", "word", ("routed", "published",), False),
    ("compile", "word", ("off", "default", "max-autotune",), False),
    ("attention", "word", ("auto", "flash", "efficient", "cudnn", "math",), False),
    ("source", "word", ("auto", "builtin",), False),
    ("figures", "word", ("preset", "own",), False),
    ("trust_remote_code", "word", ("no", "yes",), False),
    ("set", "settings", 1024, False),
)

# What records take from replies: key and kind (docs/protocol.md).
REPLIES = {
    "ready": {
        "notes": "text 512, cut",
        "load_ns": "ns",
        "compile_ns": "ns",
        "model_source": "text 64",
        "params_total": "count",
        "params_active": "count",
        "tokens_data": "text 512, cut",
        "dtype_param": "text 64",
        "dtype_compute": "text 64",
        "dtype_accumulate": "text 64",
        "tf32": "flag",
        "backend": "text 64",
        "threads": "count",
        "trace_ns": "ns",
        "compiler_flops": "number",
        "params_trainable": "count",
        "model_chosen": "text 512, cut",
        "model_config": "object or list, 64 KiB",
        "forward_call": "text 512, cut",
        "loss_source": "text 512, cut",
        "compiled": "text 512, cut",
        "dtype_buffers": "text 512, cut",
        "dtype_kept": "text 512, cut",
        "framework_settings": "text 512, cut",
    },
    "block": {
        "loss": "number",
        "grad_norm": "number",
        "nonfinite": "count",
        "device_ns": "ns",
        "prepare_ns": "ns",
        "observe_ns": "ns",
    },
    "memory": {
        "allocated_bytes": "bytes",
        "reserved_bytes": "bytes",
        "peak_bytes": "bytes",
        "device_used_bytes": "bytes",
        "device_total_bytes": "bytes",
    },
}
