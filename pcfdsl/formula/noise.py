"""Gradient noise in one and two dimensions (Perlin, Improving Noise, SIGGRAPH 2002).

Lattice points carry slopes picked by a permutation; between them the two (or four) linear functions are blended by
6 t^5 - 15 t^4 + 10 t^3. `perlin_1d` reproduces bit for bit the library that the released contour scripts call: its
float32 arithmetic, its slopes, Perlin's own permutation.
"""

import numpy as np

from pcfdsl.jit import kernel

__all__ = ["fractal_noise_2d", "perlin_1d", "perlin_2d"]

# fmt: off
_PERMUTATION = np.array([
    151, 160, 137, 91, 90, 15, 131, 13, 201, 95, 96, 53, 194, 233, 7, 225, 140, 36, 103, 30, 69, 142, 8, 99, 37, 240,
    21, 10, 23, 190, 6, 148, 247, 120, 234, 75, 0, 26, 197, 62, 94, 252, 219, 203, 117, 35, 11, 32, 57, 177, 33, 88,
    237, 149, 56, 87, 174, 20, 125, 136, 171, 168, 68, 175, 74, 165, 71, 134, 139, 48, 27, 166, 77, 146, 158, 231, 83,
    111, 229, 122, 60, 211, 133, 230, 220, 105, 92, 41, 55, 46, 245, 40, 244, 102, 143, 54, 65, 25, 63, 161, 1, 216,
    80, 73, 209, 76, 132, 187, 208, 89, 18, 169, 200, 196, 135, 130, 116, 188, 159, 86, 164, 100, 109, 198, 173, 186,
    3, 64, 52, 217, 226, 250, 124, 123, 5, 202, 38, 147, 118, 126, 255, 82, 85, 212, 207, 206, 59, 227, 47, 16, 58, 17,
    182, 189, 28, 42, 223, 183, 170, 213, 119, 248, 152, 2, 44, 154, 163, 70, 221, 153, 101, 155, 167, 43, 172, 9, 129,
    22, 39, 253, 19, 98, 108, 110, 79, 113, 224, 232, 178, 185, 112, 104, 218, 246, 97, 228, 251, 34, 242, 193, 238,
    210, 144, 12, 191, 179, 162, 241, 81, 51, 145, 235, 249, 14, 239, 107, 49, 192, 214, 31, 181, 199, 106, 157, 184,
    84, 204, 176, 115, 121, 50, 45, 127, 4, 150, 254, 138, 236, 205, 93, 222, 114, 67, 29, 24, 72, 243, 141, 128, 195,
    78, 66, 215, 61, 156, 180,
], dtype=np.uint8)
# fmt: on

# Slope of a lattice point from the low four bits of its hash. The library has -1 throughout the upper half, not -1 to
# -8, so its noise is biased compared with Perlin's.
_SLOPES = np.array([1, 2, 3, 4, 5, 6, 7, 8, -1, -1, -1, -1, -1, -1, -1, -1], dtype=np.float32)

# Eight directions of equal length, to favour no axis.
_HALF = 0.5**0.5
_DIRECTIONS = np.array(
    [[1, 0], [-1, 0], [0, 1], [0, -1], [_HALF, _HALF], [-_HALF, _HALF], [_HALF, -_HALF], [-_HALF, -_HALF]]
)

_MOST_SALT = 2**48 - 1
_PERIOD = 1024  # of the library's noise along the line, in lattice points


def perlin_1d(arguments: np.ndarray) -> np.ndarray:
    """One-dimensional noise, bit for bit that of the released contour scripts (`noise.pnoise1`).

    Args:
        arguments: float64 of any shape, finite; rounded to float32. The noise repeats every 1,024.

    Returns:
        float32 of the same shape, between -1 and 1, 0 at integers. Over random arguments its mean is 0 and its
        standard deviation 0.33.

    >>> perlin_1d(np.array([0.5, 0.75, 7.0])).round(3)
    array([0.7  , 0.159, 0.   ], dtype=float32)
    """
    arguments = np.ascontiguousarray(arguments, dtype=np.float64)
    values = np.empty(arguments.shape, np.float32)
    _perlin_1d(arguments.reshape(-1), values.reshape(-1))
    return values


def perlin_2d(x: np.ndarray, y: np.ndarray, *, salt: int = 0) -> np.ndarray:
    """Two-dimensional noise.

    Args:
        x, y: float64 of one shape, finite.
        salt: Any integer; different salts yield unrelated noise.

    Returns:
        float64 of the same shape, within about [-0.71, 0.71], 0 where both are integers.
    """
    x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    values = np.empty(x.shape)
    _perlin_2d(x.ravel(), y.ravel(), salt & _MOST_SALT, values.reshape(-1))
    return values


def fractal_noise_2d(
    size: tuple[int, int],
    *,
    frequency: tuple[float, float],
    origin: tuple[float, float] = (0.0, 0.0),
    octaves: int = 1,
    gain: float = 0.5,
    salt: int = 0,
) -> np.ndarray:
    """Fractal noise over a picture: octaves of doubling frequency, each `gain` times as strong as the one before.

    Args:
        size: (height, width) in pixels.
        frequency: Lattice cells of the first octave over the height and over the width.
        origin: Lattice coordinates (y, x) of the upper left corner; the noise repeats every 256.
        octaves: At least 1.
        gain: Ratio of strengths between successive octaves.
        salt: As for `perlin_2d`.

    Returns:
        float32 [height, width], within about [-0.71, 0.71] for any number of octaves: their strengths sum to 1.
    """
    values = np.empty(size, np.float32)
    steps = np.array([frequency[0] / size[0], frequency[1] / size[1]])
    _fractal_noise_2d(np.array(origin, np.float64), steps, octaves, float(gain), salt & _MOST_SALT, values)
    return values


@kernel
def _perlin_1d(arguments, values):
    six, fifteen, ten = np.float32(6), np.float32(15), np.float32(10)
    for k in range(len(arguments)):
        x = np.float32(arguments[k])
        floor = np.floor(x)
        cell = np.int64(floor) % _PERIOD
        t = np.float32(x - floor)
        left = _SLOPES[_PERMUTATION[cell & 255] & 15] * t
        right = _SLOPES[_PERMUTATION[((cell + 1) % _PERIOD) & 255] & 15] * np.float32(t - np.float32(1))
        fade = t * t * t * (t * (t * six - fifteen) + ten)
        values[k] = (left + fade * (right - left)) * np.float32(0.4)


@kernel
def _shuffled(salt):
    """A permutation of 0 to 255 determined by the salt (splitmix64 and Fisher-Yates)."""
    table, state = np.arange(256), np.uint64(salt)
    for k in range(255, 0, -1):
        state += np.uint64(0x9E3779B97F4A7C15)
        word = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        chosen = np.int64((word ^ (word >> np.uint64(31))) % np.uint64(k + 1))
        table[k], table[chosen] = table[chosen], table[k]
    return table


@kernel
def _noise_at(x, y, table):
    floor_x, floor_y = np.floor(x), np.floor(y)
    i, j = np.int64(floor_x), np.int64(floor_y)
    u, v = x - floor_x, y - floor_y
    fade_u = u * u * u * (u * (u * 6.0 - 15.0) + 10.0)
    fade_v = v * v * v * (v * (v * 6.0 - 15.0) + 10.0)
    upper = _slope(i, j, table, u, v)
    upper += fade_u * (_slope(i + 1, j, table, u - 1.0, v) - upper)
    lower = _slope(i, j + 1, table, u, v - 1.0)
    lower += fade_u * (_slope(i + 1, j + 1, table, u - 1.0, v - 1.0) - lower)
    return upper + fade_v * (lower - upper)


@kernel
def _slope(i, j, table, u, v):
    """Linear function of lattice point (i, j) at offset (u, v) from it."""
    direction = table[(i + table[j & 255]) & 255] & 7
    return _DIRECTIONS[direction, 0] * u + _DIRECTIONS[direction, 1] * v


@kernel
def _perlin_2d(x, y, salt, values):
    table = _shuffled(salt)
    for k in range(len(x)):
        values[k] = _noise_at(x[k], y[k], table)


@kernel
def _fractal_noise_2d(origin, steps, octaves, gain, salt, values):
    height, width = values.shape
    values[:] = np.float32(0)
    total = 0.0
    for octave in range(octaves):
        total += gain**octave
    for octave in range(octaves):
        table, scale, strength = _shuffled(salt + octave), 2.0**octave, gain**octave / total
        for row in range(height):
            y = (origin[0] + (row + 0.5) * steps[0]) * scale
            for column in range(width):
                x = (origin[1] + (column + 0.5) * steps[1]) * scale
                values[row, column] += np.float32(strength * _noise_at(x, y, table))
