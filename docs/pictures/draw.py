"""Draws what a running system showed. Usage: draw.py SHOWN_DIRECTORY PICTURES_DIRECTORY (see scripts/pictures)."""

import base64
import json
import shutil
import struct
import sys
from html import escape
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

# rich's template without its web font, which an image in a page cannot load anyway.
TERMINAL = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "Fira Code", "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ display: none; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""

CHAT_STYLE = """<style>
text { font: 14px "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #0f1a20; white-space: pre; }
.bold { font-weight: bold; }
.button { fill: #2678b6; text-anchor: middle; }
</style>
"""
TERMINAL_COLUMNS = 140
CHAT_WIDTH = 760
COLUMNS = 66
CHARACTER = 8.43
LINE = 19
MARGIN = 16
PADDING = 11
BACKGROUNDS = {"bot": "#ffffff", "operator": "#d9f4c3"}


def recorder(columns):
    return Console(record=True, width=columns, file=open("/dev/null", "w"), force_terminal=True, highlight=False)


def draw_terminal(source, target):
    command, _, shown = source.read_text(encoding="utf-8").partition("\n")
    lines = shown.rstrip().splitlines()
    longest = max(cell_len(line) for line in [f"$ {command}", *lines])
    console = recorder(min(longest + 1, TERMINAL_COLUMNS))
    console.print(Text(f"$ {command}", style="bold"))
    for line in lines:
        console.print(Text(line))
    svg = console.export_svg(title=source.stem, code_format=TERMINAL, unique_id=source.stem)
    target.write_text(svg, encoding="utf-8")


def formatted(entry):
    text, end = Text(entry["text"]), 0
    for bold in entry.get("bold", []):
        start = entry["text"].index(bold, end)
        end = start + len(bold)
        text.stylize("bold", start, end)
    return text


def line_svg(line, x, y, console):
    spans = (
        f'<tspan class="{"bold" if segment.style and segment.style.bold else "plain"}">{escape(segment.text)}</tspan>'
        for segment in line.render(console)
        if segment.text
    )
    return f'<text x="{x:.0f}" y="{y:.0f}">{"".join(spans)}</text>\n'


def picture_svg(picture, x, y, width):
    data = picture.read_bytes()
    pixels = struct.unpack(">II", data[16:24])
    height = width * pixels[1] / pixels[0]
    source = base64.b64encode(data).decode("ascii")
    svg = f'<image x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" href="data:image/png;base64,{source}"/>\n'
    return svg, height


def bubble_svg(entry, top, console, picture):
    """One message at this height, and the height below it."""
    lines = formatted(entry).wrap(console, COLUMNS)
    columns = max((cell_len(line.plain.rstrip()) for line in lines), default=1)
    width = (COLUMNS if entry.get("photo") else columns + 1) * CHARACTER + 2 * PADDING
    left = CHAT_WIDTH - MARGIN - width if entry["by"] == "operator" else MARGIN
    content, y = "", top + PADDING
    if entry.get("photo"):
        content, height = picture_svg(picture, left + PADDING, y, width - 2 * PADDING)
        y += height + PADDING / 2
    for line in lines:
        line.rstrip()
        content += line_svg(line, left + PADDING, y + LINE - 5, console)
        y += LINE
    y += PADDING
    bubble = (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{y - top:.0f}" rx="12"'
        f' fill="{BACKGROUNDS[entry["by"]]}"/>\n'
    )
    for number, label in enumerate(entry.get("buttons", [])):
        size = width / len(entry["buttons"])
        x = left + number * size
        bubble += (
            f'<rect x="{x + 1:.0f}" y="{y + 3:.0f}" width="{size - 2:.0f}" height="28" rx="8" fill="#ffffff"/>\n'
            f'<text class="button" x="{x + size / 2:.0f}" y="{y + 22:.0f}">{escape(label)}</text>\n'
        )
    if entry.get("buttons"):
        y += 31
    return bubble + content, y + 10


def draw_conversation(source, target):
    console = recorder(COLUMNS)
    content, y = "", MARGIN
    for entry in json.loads(source.read_text(encoding="utf-8")):
        bubble, y = bubble_svg(entry, y, console, source.with_name("performance.png"))
        content += bubble
    size = f"{CHAT_WIDTH} {y + 6:.0f}"
    background = '<rect width="100%" height="100%" rx="10" fill="#8fb3c9"/>\n'
    target.write_text(
        f'<svg viewBox="0 0 {size}" xmlns="http://www.w3.org/2000/svg">\n{CHAT_STYLE}{background}{content}</svg>\n',
        encoding="utf-8",
    )


def main():
    shown, pictures = map(Path, sys.argv[1:])
    for source in sorted(shown.glob("*.txt")):
        draw_terminal(source, pictures / f"{source.stem}.svg")
    draw_conversation(shown / "telegram.json", pictures / "telegram.svg")
    for picture in sorted(shown.glob("*.png")):
        shutil.copyfile(picture, pictures / picture.name)


main()
