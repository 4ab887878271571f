"""The measured ratios as a chart, each against its bar: SVG without anything around it, readable in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.measures import Row

WIDTH, LINE, LEFT, RIGHT = 760, 30, 430, 70  # pixels
LONGEST_NAME = 66  # characters
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b2227 }
.met { fill: #0f766e } .missed { fill: #b42318 } .bar { stroke: #8f5400; stroke-width: 2; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) { text { fill: #e8ecef } .met { fill: #2dd4bf } .missed { fill: #ff8a7d } }
"""


def chart(rows: Sequence[Row]) -> str:
    """A line for each row that is a ratio; the dashed mark is its bar."""
    drawn = [row for row in rows if row.ratio is not None]
    most = max((max(row.ratio or 0.0, row.limit or 0.0) for row in drawn), default=1.0) * 1.05
    scale = (WIDTH - LEFT - RIGHT) / most
    height = LINE * (len(drawn) + 1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>Measured ratios, each against its bar</title><style>{STYLE}</style>",
    ]
    for number, row in enumerate(drawn):
        top = LINE * number + LINE // 2
        ratio = row.ratio or 0.0
        name = row.what.strip()
        name = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
        kind = "missed" if row.met is False else "met"
        lines.append(f'<text x="{LEFT - 10}" y="{top + 5}" text-anchor="end">{escape(name)}</text>')
        lines.append(f'<rect class="{kind}" x="{LEFT}" y="{top - 8}" width="{ratio * scale:.1f}" height="16" rx="3"/>')
        lines.append(f'<text x="{LEFT + ratio * scale + 6:.1f}" y="{top + 5}">{ratio:.2f}</text>')
        if row.limit is not None:
            at = f"{LEFT + row.limit * scale:.1f}"
            lines.append(f'<line class="bar" x1="{at}" x2="{at}" y1="{top - 12}" y2="{top + 12}"/>')
    return "\n".join([*lines, "</svg>", ""])
