"""The bar chart of a run, as SVG text."""

import statistics
from html import escape

WIDTH, LEFT, RIGHT, TOP, STEP, BAR = 860, 250, 96, 92, 34, 20

STYLE = """
  .page { fill: #ffffff } text { fill: #1f2328; font: 14px system-ui, sans-serif }
  .title { font-size: 17px; font-weight: 600 } .quiet { fill: #59636e; font-size: 12.5px }
  .line { stroke: #d1d9e0 } .spread { stroke: #1f2328; stroke-width: 1.5 } .value { font-weight: 600 }
  .engine { fill: #1f6feb } .http { fill: #79b4ff } .peer { fill: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .quiet { fill: #9198a1 }
    .line { stroke: #3d444d } .spread { stroke: #e6edf3 }
    .engine { fill: #4493f8 } .http { fill: #1f4f8f } .peer { fill: #656c76 }
  }
"""

LEGEND = [
    ("engine", "polyhead, its engine alone"),
    ("http", "polyhead over HTTP, 4 × 32"),
    ("peer", "others, in process"),
]


LOSSY = 0.99
"""Below this cosine to fp32, embeddings are no longer the same ones: the bar says so."""


def bars(results: dict) -> list[tuple[str, str, list[float]]]:
    """Label, kind and samples of each bar, the fastest first."""
    rounds = results["rounds_of"]
    found = [
        (f"polyhead {precision}", "engine", values)
        for precision, values in rounds["engine"].items()
    ]
    found += [
        (
            f"polyhead {precision}, HTTP",
            "http",
            [sample["tokens_per_second"] for sample in shapes["4x32"]],
        )
        for precision, shapes in rounds["http"].items()
    ]
    for name, values in rounds["peers"].items():
        cosine = rounds["peers_cosine_to_fp32"].get(name, {"min": 1.0})["min"]
        label = name if cosine >= LOSSY else f"{name} (cosine {cosine:.3f})"
        found.append((label, "peer", values))
    return sorted(found, key=lambda bar: -statistics.median(bar[2]))


def draw(results: dict) -> str:
    drawn = bars(results)
    machine, facts = results["machine"], results["sentences"]
    greatest = max(max(values) for _, _, values in drawn)
    step = tick(greatest)
    end = -(-greatest // step) * step
    height = TOP + STEP * len(drawn) + 44
    scale = (WIDTH - LEFT - RIGHT) / end
    about = (
        f"{machine['cpu']}, {machine['cores']} cores · {facts['source']},"
        f" {facts['mean_tokens']:.0f} tokens a sentence · {results['date']}"
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="title">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
        text(24, 34, "Sentence embeddings: real tokens a second", "title", ' id="title"'),
        text(24, 56, about, "quiet"),
    ]
    at = 24
    for kind, label in LEGEND:
        parts.append(f'<rect class="{kind}" x="{at}" y="68" width="12" height="12" rx="2"/>')
        parts.append(text(at + 18, 79, label, "quiet"))
        at += 44 + 6.4 * len(label)
    bottom = TOP + STEP * len(drawn) + 6
    value = 0
    while value <= end:
        x = LEFT + value * scale
        parts.append(line(x, TOP, x, bottom, "line"))
        parts.append(text(x, bottom + 18, thousands(value), "quiet", ' text-anchor="middle"'))
        value += step
    for row, (label, kind, values) in enumerate(drawn):
        y = TOP + STEP * row + (STEP - BAR) / 2
        middle, end_of_bar = y + BAR / 2, statistics.median(values) * scale
        parts.append(text(LEFT - 12, middle + 5, label, "", ' text-anchor="end"'))
        parts.append(
            f'<rect class="{kind}" x="{LEFT}" y="{y:.1f}" width="{end_of_bar:.1f}" '
            f'height="{BAR}" rx="2"/>'
        )
        low, high = LEFT + min(values) * scale, LEFT + max(values) * scale
        parts.append(line(low, middle, high, middle, "spread"))
        place = max(high, LEFT + end_of_bar) + 8
        parts.append(text(place, middle + 5, thousands(statistics.median(values)), "value"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def tick(greatest: float) -> float:
    """A round distance of lines, four to eight of which reach so far."""
    size = 10.0 ** (len(str(int(greatest))) - 1)
    return next(size * part for part in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0) if greatest / (size * part) <= 8)


def thousands(value: float) -> str:
    return f"{value:,.0f}"


def text(x: float, y: float, words: str, kind: str, more: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}"{more}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
