"""Under every page: its downloads, and which model, seed and versions made it, when, and in what time.

`colophon.json`, which `dpotox.run.pages` writes beside the pages' sources, says all of it.
"""

import json
from html import escape
from pathlib import Path


def _line(facts: dict, page: dict) -> str:
    """What made a page."""
    title = f" ({escape(facts['title'])})" if facts["title"] else ""
    parts = [f"Profile <b>{escape(facts['profile'])}</b>{title}, seed {facts['seed']}"]
    parts.append(f"the study's steps took {facts['steps']:,} s")
    if page.get("date"):
        parts.append(f"this notebook ran on {page['date']} in {page['seconds']} s")
    else:
        parts.append(f"built on {facts['date']}")
    versions = facts["versions"].items()
    parts.append(", ".join(f"{escape(name)} {escape(version)}" for name, version in versions))
    return " · ".join(parts)


def _add(app, pagename, templatename, context, doctree) -> None:
    if doctree is None:
        return
    facts = json.loads((Path(app.srcdir) / "colophon.json").read_text())
    page, pathto = facts["pages"].get(pagename, {}), context["pathto"]
    links = [
        f'<a href="{pathto(f"_static/downloads/{name}", 1)}" download>{escape(name)}</a>'
        for name in page.get("downloads", [])
    ]
    downloads = f"<p>Download: {' · '.join(links)}</p>" if links else ""
    context["body"] += f'<div class="colophon">{downloads}<p>{_line(facts, page)}</p></div>'


def _outdated(app, env, added, changed, removed) -> list[str]:
    """All pages, where what is said under each of them has changed since they were written."""
    facts = json.loads((Path(app.srcdir) / "colophon.json").read_text())
    shared = {name: fact for name, fact in facts.items() if name != "pages"}
    same = getattr(env, "colophon", None) == shared
    env.colophon = shared
    return [] if same else sorted(env.found_docs)


def setup(app) -> dict:
    app.connect("env-get-outdated", _outdated)
    app.connect("html-page-context", _add)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
