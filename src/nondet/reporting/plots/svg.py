"""A figure's SVG as part of a page: only shapes, and nothing that clashes with the page or refers outside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, fromstring, register_namespace, tostring

from nondet.io.plain import plain

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"

SHAPES = ("svg", "g", "defs", "path", "use", "clipPath", "rect", "image")
"""What matplotlib draws with; everything else, such as its metadata, is left out."""


def inline(content: bytes, name: str, title: str, description: str) -> str:
    """Prepare the SVG that matplotlib wrote for a page: as wide as its place, named, described and with its own ids.

    Styles become attributes, so that a page can forbid all styles but its own. Ids begin with `name`. References point
    inside the figure or contain their data. Comments, the document type and metadata are removed.
    """
    register_namespace("", SVG)
    root = fromstring(content)
    _strip(root)
    used = set(_references(root))
    for element in root.iter():
        _plain(element, used, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title {name}-desc"}
    root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}  # what matplotlib's style element says
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = plain(text)
        root.insert(place, element)
    return tostring(root, encoding="unicode")


def _strip(element: Element) -> None:
    for child in list(element):
        if child.tag.removeprefix(f"{{{SVG}}}") in SHAPES:
            _strip(child)
        else:
            element.remove(child)


def _references(root: Element) -> Iterator[str]:
    """Yield the ids that the figure itself refers to."""
    for element in root.iter():
        for value in element.attrib.values():
            yield from re.findall(r"url\(#([^)]+)\)", value)
            if value.startswith("#"):
                yield value[1:]


def _plain(element: Element, used: set[str], name: str) -> None:
    attributes = dict(element.attrib)
    for declaration in filter(None, attributes.pop("style", "").split(";")):
        key, _, value = declaration.partition(":")
        attributes[key.strip()] = value.strip()
    identity = attributes.pop("id", None)
    if identity in used:
        attributes["id"] = f"{name}-{identity}"
    reference = attributes.pop(f"{{{XLINK}}}href", None)
    if reference and reference.startswith(("#", "data:image/png;base64,")):
        attributes["href"] = reference.replace("#", f"#{name}-", 1) if reference[0] == "#" else reference
    element.attrib.clear()
    element.attrib.update({k: re.sub(r"url\(#", f"url(#{name}-", v) for k, v in attributes.items()})
