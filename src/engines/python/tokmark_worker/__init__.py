"""The worker behind tokmark's Python engines: one cell, one process, protocol version 1.

Run as `python -m tokmark_worker ENGINE`. Standard library only, beside the engine's own framework.
"""
__version__ = "0.1.0"
