"""Leaves out the theme's scripts that run cells on another host: the pages ask none and need no server."""


def _leave_out(app, pagename, templatename, context, doctree) -> None:
    def runs_cells(script) -> bool:
        return "thebe" in f"{script.filename} {script.attributes.get('body', '')}".lower()

    context["script_files"] = [s for s in context["script_files"] if not runs_cells(s)]


def setup(app) -> dict:
    app.connect("html-page-context", _leave_out, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
