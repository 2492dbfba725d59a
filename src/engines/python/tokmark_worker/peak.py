"""What a device can do at best, by its framework: `python PACKAGE IN,OUT peak ENGINE DEVICE` prints one line of JSON,
{engine_version, device_name, read_bytes, write_bytes, triad_bytes, launch_ns, matmul_flops: {precision: rate}}; rates are per
second, and what the device does not do is left out. `tokmark peak` asks.

A rate is the best of many batches, each some 20 ms of work between two waits for the device: what disturbs a batch makes it
slower, never faster.
"""
import json
import os
import sys
import time

BATCH_S = 0.02
WARM_S = 0.5  # clocks come up
MEASURE_S = 1.0
SIZES_DEVICE = (4096, 8192)
SIZES_HOST = (1024, 2048)
STREAM_BYTES_DEVICE = 1 << 30
STREAM_BYTES_HOST = 1 << 28


def best_seconds(call, wait):
    """Shortest time of one call, over batches of them."""
    call()
    wait()
    begin = time.perf_counter()
    call()
    wait()
    once = max(time.perf_counter() - begin, 1e-7)
    count = max(1, min(1000, round(BATCH_S / once)))
    best = once
    warm_until = time.perf_counter() + WARM_S
    end = warm_until + MEASURE_S
    while (begin := time.perf_counter()) < end:
        for _ in range(count):
            call()
        wait()
        done = time.perf_counter()
        if begin >= warm_until:
            best = min(best, (done - begin) / count)
    return best


class Torch:
    """The same calls as a bare script's."""

    def __init__(self, device):
        import torch

        self._torch = torch
        self._device = torch.device(device)
        self._is_cuda = self._device.type == "cuda"
        if self._is_cuda:
            torch.cuda.set_device(self._device)
        self.version = torch.__version__
        self.device_name = torch.cuda.get_device_name(self._device) if self._is_cuda else None
        self.is_host = not self._is_cuda

    def wait(self):
        if self._is_cuda:
            self._torch.cuda.synchronize(self._device)

    def precisions(self):
        if not self._is_cuda:
            return {"fp32": (self._torch.float32, False), "bf16": (self._torch.bfloat16, False)}
        names = {"fp32": (self._torch.float32, False), "fp16": (self._torch.float16, False)}
        if self._torch.cuda.get_device_capability(self._device) >= (8, 0):
            names["tf32"] = (self._torch.float32, True)
            names["bf16"] = (self._torch.bfloat16, False)
        return names

    def product(self, precision, size):
        dtype, is_tf32 = self.precisions()[precision]
        torch = self._torch
        torch.set_float32_matmul_precision("high" if is_tf32 else "highest")
        a = torch.randn(size, size, device=self._device, dtype=torch.float32).to(dtype)
        b = torch.randn(size, size, device=self._device, dtype=torch.float32).to(dtype)
        out = torch.empty(size, size, device=self._device, dtype=dtype)
        return lambda: torch.matmul(a, b, out=out)

    def streams(self, count):
        """read, write, triad: (call, bytes moved)."""
        torch = self._torch
        a, b, c = (torch.ones(count, device=self._device) for _ in range(3))
        return {
            "read_bytes": (lambda: torch.sum(a), 4 * count),
            "write_bytes": (lambda: a.fill_(1.0), 4 * count),
            "triad_bytes": (lambda: torch.add(b, c, alpha=0.5, out=a), 12 * count),
        }

    def launch(self):
        one = self._torch.ones(1, device=self._device)
        return lambda: one.add_(1.0)


class Jax:
    """Compiled functions: XLA is asked for one product, not for a fused loop of them."""

    def __init__(self, device):
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        import jax

        self._jax = jax
        kind, _, ordinal = device.partition(":")
        self._device = jax.devices({"cuda": "gpu"}.get(kind, kind))[int(ordinal or 0)]
        self.version = jax.__version__
        self.is_host = self._device.platform == "cpu"
        self.device_name = None if self.is_host else self._device.device_kind
        self._last = None

    def wait(self):
        self._jax.block_until_ready(self._last)

    def _run(self, function, *arrays):
        compiled = self._jax.jit(function)
        arrays = [self._jax.device_put(array, self._device) for array in arrays]

        def call():
            self._last = compiled(*arrays)

        return call

    def precisions(self):
        np = self._jax.numpy
        names = {"fp32": (np.float32, "highest"), "bf16": (np.bfloat16, "default")}
        if self._device.platform == "gpu":
            names["tf32"] = (np.float32, "tensorfloat32")
            names["fp16"] = (np.float16, "default")
        return names

    def product(self, precision, size):
        dtype, how = self.precisions()[precision]
        key = self._jax.random.key(0)
        a = self._jax.random.normal(key, (size, size)).astype(dtype)
        return self._run(lambda x, y: self._jax.numpy.matmul(x, y, precision=how), a, a.T)

    def streams(self, count):
        np = self._jax.numpy
        a = np.ones(count, np.float32)
        b = np.ones(count, np.float32)
        return {
            "read_bytes": (self._run(np.sum, a), 4 * count),
            "triad_bytes": (self._run(lambda x, y: x + 0.5 * y, a, b), 12 * count),
        }

    def launch(self):
        return self._run(lambda x: x + 1, self._jax.numpy.ones(1))


def measure(framework):
    facts = {"engine_version": framework.version, "device_name": framework.device_name, "matmul_flops": {}}
    sizes = SIZES_HOST if framework.is_host else SIZES_DEVICE
    for precision in framework.precisions():
        rates = []
        for size in sizes:
            try:
                rates.append(2 * size**3 / best_seconds(framework.product(precision, size), framework.wait))
            except RuntimeError as error:  # one that does not fit, or is not there
                print(f"{precision} {size}: {error}", file=sys.stderr)
        if rates:
            facts["matmul_flops"][precision] = max(rates)
    count = (STREAM_BYTES_HOST if framework.is_host else STREAM_BYTES_DEVICE) // 4
    for name, (call, moved) in framework.streams(count).items():
        facts[name] = moved / best_seconds(call, framework.wait)
    facts["launch_ns"] = 1e9 * best_seconds(framework.launch(), framework.wait)
    return facts


def main(out_fd):
    engine, device = sys.argv[2:4]
    framework = {"pytorch": Torch, "jax": Jax}[engine](device)
    os.write(out_fd, (json.dumps(measure(framework)) + "\n").encode("ascii"))
