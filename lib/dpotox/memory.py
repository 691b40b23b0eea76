"""When a batch does not fit into memory: go on with half of it, and say so."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable

import torch

from dpotox.progress import note


def halving(function: Callable) -> Callable:
    """A function with a keyword `batch_size`, called again with half of it when memory does not suffice.

    What it returns must not depend on the batch size. A size that was too large is not tried again.

    Raises:
        torch.OutOfMemoryError, MemoryError, RuntimeError: memory does not suffice for a batch of one either.
    """

    @functools.wraps(function)
    def called(*args, batch_size: int, **kwargs):
        while True:
            size = min(batch_size, called.fits)
            try:
                return function(*args, batch_size=size, **kwargs)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or size == 1:
                    raise
                called.fits = size // 2
            gc.collect()  # a trainer holds itself in circles, and its memory with it
            torch.cuda.empty_cache()
            note(f"a batch of {size} does not fit into memory; going on with {called.fits}")

    called.fits = sys.maxsize
    return called


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice: torch's on a GPU or the CPU, or Python's own."""
    texts = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in texts)
