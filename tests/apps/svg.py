"""Reads gnuplot's SVG: texts with their boxes, lines, points and boxes with their colours. Numbers, not pixels."""
import math
import re
import unicodedata
import xml.etree.ElementTree as ElementTree

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"


def hex_color(text):
    numbers = re.findall(r"\d+", text or "")
    return "#%02x%02x%02x" % tuple(int(n) for n in numbers[:3]) if (text or "").startswith("rgb") else text


class Text:
    def __init__(self, node, text):
        x, y = re.match(r"translate\(([-\d.]+),([-\d.]+)\)", node.get("transform")).groups()
        turn = re.search(r"rotate\(([-\d.]+)\)", node.get("transform"))
        self.text, self.x, self.y, self.angle = text, float(x), float(y), math.radians(float(turn.group(1))) if turn else 0.0
        self.anchor, self.size, self.color = node.get("text-anchor"), float(node.get("font-size")), hex_color(node.get("fill"))

    def corners(self):
        """The text's box, a little smaller than its line: DejaVu Sans has 0.60 em a letter on average, 0.64 a digit."""
        ems = sum(0 if unicodedata.combining(c) else 1.0 if unicodedata.east_asian_width(c) in "WF" else
                  0.33 if c in ".,:;'|!ilj \"()" else 0.6 for c in self.text)
        width = ems * self.size
        left = {"start": 0, "middle": -width / 2, "end": -width}[self.anchor]
        box = [(left, -0.7 * self.size), (left + width, -0.7 * self.size), (left + width, 0.05 * self.size), (left, 0.05 * self.size)]
        c, s = math.cos(self.angle), math.sin(self.angle)
        return [(self.x + c * u - s * v, self.y + s * u + c * v) for u, v in box]


def separated(a, b):
    """Whether a line parts the two convex polygons."""
    for polygon in (a, b):
        for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1]):
            nx, ny = y1 - y0, x0 - x1
            along_a, along_b = ([nx * x + ny * y for x, y in p] for p in (a, b))
            if max(along_a) <= min(along_b) or max(along_b) <= min(along_a):
                return True
    return False


class Svg:
    def __init__(self, path):
        self.root = ElementTree.parse(path).getroot()
        self.width, self.height = float(self.root.get("width")), float(self.root.get("height"))
        self.texts = [Text(g, "".join(t.itertext()).strip(" ")) for g in self.root.iter(SVG + "g") for t in g.findall(SVG + "text")]
        self.texts = [t for t in self.texts if t.text.strip()]

    def plot(self, number):
        return next(g for g in self.root.iter(SVG + "g") if g.get("id") == f"gnuplot_plot_{number}")

    def lines(self, node=None):
        """(colour, [(x, y), ...]) of every stroke; a move starts a new one."""
        found = []
        for path in (self.root if node is None else node).iter(SVG + "path"):
            if path.get("stroke") and path.get("id") is None:
                for stroke in re.findall(r"M[^M]*", path.get("d")):
                    found.append((hex_color(path.get("stroke")),
                                  [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+),([-\d.]+)", stroke)]))
        return found

    def points(self, node):
        """(shape, colour, x, y) of every point."""
        found = []
        for use in node.iter(SVG + "use"):
            x, y = re.match(r"translate\(([-\d.]+),([-\d.]+)\)", use.get("transform")).groups()
            found.append((use.get(HREF), hex_color(use.get("color")), float(x), float(y)))
        return found

    def polygons(self, node=None):
        return [(hex_color(p.get("fill")), [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+),([-\d.]+)", p.get("points"))])
                for p in (self.root if node is None else node).iter(SVG + "polygon")]

    def text(self, text):
        found = [t for t in self.texts if t.text == text]
        assert len(found) == 1, (text, [t.text for t in self.texts])
        return found[0]

    def overlaps(self):
        """Pairs of texts that stand on each other, and texts that leave the canvas."""
        boxes = [(t.text, t.corners()) for t in self.texts]
        pairs = [(a, b) for i, (a, p) in enumerate(boxes) for b, q in boxes[:i] if not separated(p, q)]
        outside = [(a,) for a, p in boxes if any(not (-1 <= x <= self.width + 1 and -1 <= y <= self.height + 1) for x, y in p)]
        return pairs + outside
