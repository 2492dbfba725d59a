"""A block of steps and its time stamps (docs/protocol.md, section 6), for every Python engine.

Nothing but the steps, the waiting and the clock is between the first stamp and the last.
"""
import time

# A block's batches are made in parts of at most so many bytes, each timed by itself.
_BATCHES_BYTES_MAX = 64 << 20
# On a device they must not show in its peak: at most this part of what the weights take.
_BATCHES_SHARE = 200
TOKEN_BYTES = 8


def part_steps(cell, device_weights_bytes=None, token_bytes=TOKEN_BYTES):
    """Steps whose batches are made in one go."""
    bytes_max = _BATCHES_BYTES_MAX
    if device_weights_bytes is not None:
        bytes_max = min(bytes_max, device_weights_bytes // _BATCHES_SHARE)
    return max(1, bytes_max // (2 * token_bytes * cell.batch_size * cell.seq_len))


class Block:
    """Steps timed without interruption, in parts when their batches are large.

    wait(result) returns when what a step gave, and all before it, is complete. timer: the device's
    own clock (start, stop, elapsed_ns), or None. keeps_all: every step's result is kept, not only
    the last one's.
    """

    def __init__(self, sync, keeps_all, wait, timer=None):
        self._is_step = sync == "step"
        self._keeps_all = keeps_all
        self._wait = wait
        self._timer = timer
        self._device_ns = 0
        self._window_ns = 0
        self._step_ns = []
        self._prepare_ns = 0
        self._observe_ns = 0
        self.steps_done = 0
        self.results = []  # every step's loss, or the last step's output
        self.last_tokens = None

    def prepare(self, make, *args):
        """What make gives, and its time apart from the steps'."""
        before = time.perf_counter_ns()
        made = make(*args)
        self._prepare_ns += time.perf_counter_ns() - before
        return made

    def observe(self, look):
        """What look sees of this block, and its time apart."""
        before = time.perf_counter_ns()
        seen = look(self)
        self._observe_ns += time.perf_counter_ns() - before
        return seen

    def run(self, step, inputs, targets):
        self._wait(None)
        if self._timer:
            self._timer.start()
        if self._is_step:
            self._window_ns += self._synced(step, inputs, targets)
        else:
            self._window_ns += self._free(step, inputs, targets)
        if self._timer:
            self._device_ns += self._timer.elapsed_ns()
        self.steps_done += len(inputs)
        self.last_tokens = inputs[-1]

    def _synced(self, step, inputs, targets):
        """Every step waited for; one stamp a step."""
        clock, wait = time.perf_counter_ns, self._wait
        results, step_ns, keeps_all = self.results, self._step_ns, self._keeps_all
        first = last = clock()
        for tokens, wanted in zip(inputs, targets):
            if not keeps_all:
                results.clear()  # an output is not held while the next is made
            results.append(step(tokens, wanted))
            wait(results[-1])
            now = clock()
            step_ns.append(now - last)
            last = now
        if self._timer:
            self._timer.stop()
            wait(results[-1])
        return last - first

    def _free(self, step, inputs, targets):
        """Only the end waited for; two stamps."""
        results, keeps_all = self.results, self._keeps_all
        first = time.perf_counter_ns()
        for tokens, wanted in zip(inputs, targets):
            if not keeps_all:
                results.clear()
            results.append(step(tokens, wanted))
        if self._timer:
            self._timer.stop()
        self._wait(results[-1])
        return time.perf_counter_ns() - first

    def fields(self):
        return {
            "window_ns": self._window_ns,
            "step_ns": self._step_ns if self._is_step else None,
            "device_ns": self._device_ns if self._timer else None,
            "prepare_ns": self._prepare_ns,
            "observe_ns": self._observe_ns,
            "recompiles": 0,
        }
