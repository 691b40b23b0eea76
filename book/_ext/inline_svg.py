"""Put the SVG figures into the pages themselves, so that they follow the page's theme and font."""

import re
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from dpotox.show.figure_style import THEMED

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
GROWTH = 1.25
"""How much larger than its natural size a figure may get in a wide column."""


def inline(svg: str, alt: str, prefix: str) -> str:
    """An SVG file as an element of a page.

    Args:
        svg: what matplotlib writes, with text as text.
        alt: what the figure shows, for those who cannot see it.
        prefix: what makes its ids different from those of the page's other figures.
    """
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINK)
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):  # a style would be the whole page's
                parent.remove(child)
    for element in root.iter():
        for name, value in element.items():
            element.set(name, _changed(name, value, prefix))
    width = float(root.get("viewBox").split()[2]) * GROWTH * 96 / 72
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"class": "chart", "style": f"max-width: {width:.0f}px"}
    root.attrib |= {"role": "img", "aria-label": alt} if alt else {}
    return ElementTree.tostring(root, encoding="unicode")


def _changed(name: str, value: str, prefix: str) -> str:
    """An attribute with its ids made the page's own, and its colours the theme's."""
    if name == "id":
        return prefix + value
    if name.endswith("href") and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    value = re.sub(r"url\(#", f"url(#{prefix}", value)
    if name in ("style", "fill", "stroke"):
        value = re.sub(r"font-family:[^;]*;?", "", value)
        for colour, role in THEMED.items():
            value = re.sub(colour, f"var(--chart-{role}, {colour})", value, flags=re.IGNORECASE)
    return value


class InlineSvg(SphinxPostTransform):
    """Replace every image that is an SVG of this project by the element itself."""

    default_priority = 200
    formats = ("html",)

    def run(self, **_) -> None:
        for number, image in enumerate(list(self.document.findall(nodes.image))):
            path = Path(self.app.srcdir, image["uri"])
            if path.suffix != ".svg" or not path.is_file():
                continue
            text = path.read_text(encoding="utf-8")
            prefix = f"f{number}-{sha256(text.encode()).hexdigest()[:6]}-"
            html = inline(text, image.get("alt", ""), prefix)
            image.replace_self(nodes.raw("", html, format="html"))


def setup(app) -> dict:
    app.add_post_transform(InlineSvg)
    app.add_css_file("figures.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
