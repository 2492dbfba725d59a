"""Every module of the worker can be imported: a name that is no longer there is seen here at once."""
import importlib
import pkgutil

import jax_worker  # noqa: F401  (JAX's settings, and the worker's package on the path)
import tokmark_worker

NAMES = [module.name for module in pkgutil.iter_modules(tokmark_worker.__path__)]


def test_every_module_is_imported():
    assert len(NAMES) > 40
    broken = {}
    for name in NAMES:
        if name == "__main__":  # it runs
            continue
        try:
            importlib.import_module(f"tokmark_worker.{name}")
        except Exception as error:
            broken[name] = repr(error)
    assert not broken
