"""Forward passes at NDIF, of models that it serves (`model.remote`): what is asked first, and what may fail.

Everything else stays as it is: nnsight sends what stands in a trace, with our functions that it calls, and
brings back what is saved. So nothing that a trace changes outside of itself may be relied on, and no second
model can be asked within one. Weights are looked at here.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import nnsight
from cloudpickle import unregister_pickle_by_value
from nnsight import CONFIG, TransformersModel

from dpotox.errors import UserError, first_line, refused
from dpotox.memory import is_out_of_memory


@contextmanager
def our_code_sent() -> Iterator[None]:
    """Within it this package is sent along, which the other side does not have.

    Not for longer, as whatever else pickles our functions then, such as other processes here, knows them.
    """
    package = sys.modules[__package__]
    nnsight.register(package)
    try:
        yield
    finally:
        unregister_pickle_by_value(package)


def check_key() -> None:
    """Raise a UserError where there is no key for NDIF."""
    if not CONFIG.API.APIKEY:
        raise UserError(
            "model.remote is true, and there is no key for NDIF; get one at its site and set NDIF_API_KEY"
        )


def check_served(repository: str, revision: str) -> None:
    """Raise a UserError where NDIF does not run a model now, or does not answer."""
    with refused(
        f"NDIF cannot be asked for {repository!r}", "check its name, the network and your access to it"
    ):
        running = nnsight.is_model_running(repository, revision or "main", task="text-generation")
    if not running:
        raise UserError(
            f"NDIF does not run {repository!r} at {revision or 'main'} now, or does not answer; "
            "nnsight.status() lists what it runs: give one of these, or ask for this one there"
        )


def answered(function: Callable) -> Callable:
    """A function of a traced model, whose jobs at NDIF get our code, and may fail: that is said in one line.

    What does not fit into memory there raises the same as here, so that a smaller batch is tried.

    Raises:
        UserError: NDIF refused a job, lost it, or could not be reached.
        MemoryError: its memory did not suffice.
    """

    @functools.wraps(function)
    def called(model: TransformersModel, *args, **kwargs):
        if not model.remote:
            return function(model, *args, **kwargs)
        from httpx import HTTPError  # here: slow to import
        from nnsight.intervention.backends.remote import RemoteError
        from websocket import WebSocketException

        try:
            with our_code_sent():
                return function(model, *args, **kwargs)
        except (RemoteError, HTTPError, WebSocketException, ConnectionError) as error:
            if is_out_of_memory(error):
                raise MemoryError(first_line(error)) from None
            raise UserError(
                f"a job at NDIF on {model.repo_id!r} failed: {first_line(error) or 'it was lost'}; rerun: "
                "what is finished is kept"
            ) from None

    return called
