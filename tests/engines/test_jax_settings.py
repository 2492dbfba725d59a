"""JAX models keep their constructors' own defaults too; what is chosen is said (test_pytorch_settings.py has the rules)."""
from jax_worker import MOE, JaxWorker
from test_jax_sources import refused, write

FALLBACK = {**MOE, "name": "mine", "vocab_size": 50257, "max_seq_len": 16}
MODELS = """
    import jax
    from flax import linen


    class Tiny(linen.Module):
        vocab_size: int = 1000
        dim: int = 16
        context: "int | None" = None

        @linen.compact
        def __call__(self, ids):
            return linen.Dense(self.vocab_size)(linen.Embed(self.vocab_size, self.dim)(ids))


    def init(key, vocab_size, block_size=8):
        return {"table": jax.random.normal(key, (vocab_size, 4)), "place": jax.random.normal(key, (block_size, 4))}


    def apply(params, ids):
        x = params["table"][ids] + params["place"][: ids.shape[1]]
        return x @ params["table"].T


    def make(vocab_size=300, block_size=8):
        return (lambda key: init(key, vocab_size, block_size)), apply
"""


def opened(folder, ref, seq_len=16, **settings):
    with JaxWorker(folder) as worker:
        ready = worker.open({**FALLBACK, "max_seq_len": seq_len}, "infer", seq_len, model_ref=ref, options={"set": settings})
        assert worker.run(2)["nonfinite"] == 0
    return ready


def test_defaults_stay_and_choices_are_said(tmp_path):
    write(tmp_path, "mine.py", MODELS)
    ready = opened(tmp_path, "mine:Tiny", dim="8", context="none")
    assert ready["params_total"] == 1000 * 8 + 8 * 1000 + 1000
    config = ready["model_config"]
    assert config["vocab_size"] == {"value": 1000, "from": "default"}
    assert config["dim"] == {"value": 8, "from": "--set"} and config["context"] == {"value": None, "from": "--set"}
    assert "model_chosen" not in ready
    ready = opened(tmp_path, f"{tmp_path}/mine.py:make")
    assert ready["params_total"] == (300 + 16) * 4
    assert ready["model_chosen"] == "block_size 16 (its default is 8)"
    assert "did you mean 'vocab_size'" in refused(tmp_path, model_ref="mine:Tiny", options={"set": {"vocab": "7", "vocabsize": "8"}})["text"]
