"""Owns colours through which others shine: a terminal cannot mix them, so they are mixed before they are drawn."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget


def shade(widget: Widget, name: str) -> Style:
    """The style that the sheet gives to a component class of a widget, for the widget's own background."""
    style = widget.get_component_rich_style(name, partial=True)
    styles = widget.get_component_styles(name)
    behind = widget.background_colors[1]
    mixed = Style()
    if styles.has_rule("background"):
        behind = behind + styles.background
    if 0 < styles.background.a < 1:
        mixed += Style(bgcolor=behind.rich_color)
    if styles.has_rule("color") and 0 < styles.color.a < 1:
        # What is only said to be pale is dark on a light theme.
        color = behind.get_contrast_text(styles.color.a) if styles.auto_color else styles.color
        mixed += Style(color=(behind + color).rich_color)
    return style + mixed
