"""The one error a user can mend: what happened, why, and the way out, in a single line."""


class UserError(Exception):
    """A mistake in a setting, a file or the surroundings; shown without a traceback.

    The command line (`python -m dpotox.book`) prints it and exits with status 1. In a notebook IPython
    calls `_render_traceback_`, so that papermill's report and the page show the line alone too.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"error: {self}"]
