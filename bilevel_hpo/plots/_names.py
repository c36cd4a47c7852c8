"""Names from data: drawn literally, shortened on axes, in full on hover."""

import html
import textwrap

__all__ = ["as_hover", "as_label", "as_scene_text", "as_text"]

_HOVER_WIDTH = 60


def as_text(name: object) -> str:
    """Returns `name` so that plotly shows it literally: `<b>` and `&amp;` in it are text, not markup."""
    return html.escape(str(name), quote=False)


def as_label(name: object, length: int = 30) -> str:
    """Returns `name` for axes and legends: like `as_text`, without the middle above `length` characters."""
    return as_text(_shortened(str(name), length))


def as_hover(name: object) -> str:
    """Returns `name` in full for hover texts and templates, in lines of 60 characters, with `%{…}` as text."""
    lines = textwrap.wrap(str(name), _HOVER_WIDTH) or [""]
    return "<br>".join(as_text(line).replace("{", "&#123;") for line in lines)


def as_scene_text(name: object, length: int = 28) -> str:
    """Returns `name` for axis titles of 3-D scenes, which read tags but no entities, and cut long titles."""
    return _shortened(str(name), length).replace("<", "<\u2060")  # an invisible joiner: no longer a tag


def _shortened(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"
