"""A small stroke font, so that pictures need neither a font file nor a drawing library.

A glyph is one or more strokes on a grid 4 units wide: y = 0 is the top of a capital, 2 the top of a small letter, 6 the
baseline, 8 the lowest point of a descender. A stroke is a chain of two-digit points "xy"; strokes are separated by
spaces, and a point written twice is a dot.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

GLYPHS: dict[str, str] = {
    "0": "103041453616050110",
    "1": "022026 0646",
    "2": "01103041420646",
    "3": "01103041423313 334445361605",
    "4": "36300444",
    "5": "400002324345361605",
    "6": "413010010516364544331304",
    "7": "004016",
    "8": "13020110304142331304051636454433",
    "9": "051636454130100102133342",
    "a": "12324346 441405163645",
    "b": "0006 0312324345361605",
    "c": "4332120305163645",
    "d": "4046 4332120305163645",
    "e": "04444332120305163645",
    "f": "30201116 0232",
    "g": "42473818 4332120305163645",
    "h": "0006 0312324346",
    "i": "0206 0000",
    "j": "121708 1010",
    "k": "0006 320436",
    "l": "000516",
    "m": "0206 03122326 23324346",
    "n": "0206 0312324346",
    "o": "123243453616050312",
    "p": "0208 0312324345361605",
    "q": "4248 4332120305163645",
    "r": "0206 031232",
    "s": "43321203143445361605",
    "t": "10152636 0232",
    "u": "0205163645 4246",
    "v": "022642",
    "w": "0216233642",
    "x": "0246 4206",
    "y": "0226 4218",
    "z": "02420646",
    "A": "062046 1434",
    "B": "00063645443303 3342413000",
    "C": "4130100105163645",
    "D": "00204244260600",
    "E": "40000646 0333",
    "F": "400006 0333",
    "G": "41301001051636454323",
    "H": "0006 4046 0343",
    "I": "0006",
    "J": "4045361605",
    "K": "0006 400346",
    "L": "000646",
    "M": "0600234046",
    "N": "06004640",
    "O": "103041453616050110",
    "P": "06003041423303",
    "Q": "103041453616050110 3446",
    "R": "06003041423303 2346",
    "S": "413010010213334445361605",
    "T": "0040 2026",
    "U": "000516364540",
    "V": "002640",
    "W": "0016233640",
    "X": "0046 4006",
    "Y": "002340 2326",
    "Z": "00400646",
    ".": "0606",
    ",": "0607",
    ":": "0303 0606",
    "-": "0333",
    "+": "0343 2145",
    "=": "0242 0444",
    "/": "3006",
    "|": "0007",
    "(": "10010516",
    ")": "00111506",
    "[": "10000616",
    "]": "00101606",
    "<": "400346",
    ">": "004306",
    "_": "0747",
    "%": "4006 0000 4646",
}
UNKNOWN = "0040460600"
CAP_HEIGHT, DEPTH, GAP, SPACE = 6.0, 8.0, 1.9, 3.0


@lru_cache(maxsize=1024)
def text_mask(text: str, size: float) -> NDArray[np.float32]:
    """Return the ink of one line of text.

    :param text: characters of ``GLYPHS`` and spaces; any other character is drawn as a box
    :param size: height of a capital letter in pixels
    :return: coverage in [0, 1], shape (height, width), read-only because it is cached
    """
    unit = size / CAP_HEIGHT
    radius = max(0.55, 0.085 * size)
    segments, width = _segments(text)
    pad = radius + 1.0
    shape = (int(np.ceil(DEPTH * unit + 2 * pad)), int(np.ceil(width * unit + 2 * pad)))
    mask = np.zeros(shape, dtype=np.float32)
    for start, end in segments:
        _add_stroke(mask, start * unit + pad, end * unit + pad, radius)
    mask.flags.writeable = False
    return mask


def text_width(text: str, size: float) -> float:
    """Return the width in pixels of ``text`` without its padding."""
    return _segments(text)[1] * size / CAP_HEIGHT


def _segments(text: str) -> tuple[list[tuple[NDArray[np.float64], NDArray[np.float64]]], float]:
    """Return the line segments of ``text`` in font units, each a (start, end) pair of (x, y), and its total width."""
    segments: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    left = 0.0
    for character in text:
        if character == " ":
            left += SPACE
            continue
        widest = 0.0
        for stroke in GLYPHS.get(character, UNKNOWN).split():
            points = np.array([float(digit) for digit in stroke]).reshape(-1, 2)
            widest = max(widest, float(points[:, 0].max()))
            points[:, 0] += left
            segments += list(pairwise(points))
        left += widest + GAP
    return segments, max(left - GAP, 0.0)


def _add_stroke(mask: NDArray[np.float32], start: NDArray[np.float64], end: NDArray[np.float64], radius: float) -> None:
    """Draw the set of points within ``radius`` of a segment into ``mask``, with smooth edges."""
    low = np.maximum(np.floor(np.minimum(start, end) - radius - 1), 0).astype(int)
    high = np.ceil(np.maximum(start, end) + radius + 1).astype(int)
    part = mask[low[1] : high[1], low[0] : high[0]]
    ys = np.arange(low[1], low[1] + part.shape[0])[:, None] + 0.5
    xs = np.arange(low[0], low[0] + part.shape[1])[None, :] + 0.5
    np.maximum(part, np.clip(0.5 + radius - segment_distance(xs, ys, start, end), 0.0, 1.0), out=part)


def segment_distance(
    xs: NDArray[np.float64], ys: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the distance of each point (x, y) to the segment from ``start`` to ``end``, each an (x, y) pair."""
    direction = end - start
    length_squared = max(float(direction @ direction), 1e-12)
    along = np.clip(((xs - start[0]) * direction[0] + (ys - start[1]) * direction[1]) / length_squared, 0.0, 1.0)
    distance = np.hypot(xs - start[0] - along * direction[0], ys - start[1] - along * direction[1])
    return np.asarray(distance, dtype=np.float32)
