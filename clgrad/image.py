"""``mx.image``: images as arrays (height, width, channels), read, resized and cropped.

Functions take NDArrays and numpy arrays, and give what they are given: an NDArray is worked on where it
lies, and a numpy array on the host, as in the worker processes of a data loader. What they draw at random
follows ``numpy.random.seed``. Reading files needs Pillow (``pip install "clgrad[images]"``).
"""

import io
import math
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from clgrad import absent as _absent
from clgrad import host_random, nd
from clgrad.array import NDArray
from clgrad.errors import AbsentError, MXNetError, OperatorTypeError, argument_error

try:
    from PIL import Image
    from PIL import UnidentifiedImageError as _Unidentified
except ImportError:  # pragma: no cover (an extra)
    Image = None  # type: ignore[assignment]
    _Unidentified = OSError  # type: ignore[assignment, misc]

__getattr__ = _absent.getter("mx.image", __name__)

__all__ = [
    "center_crop",
    "color_normalize",
    "fixed_crop",
    "imdecode",
    "imread",
    "imresize",
    "imrotate",
    "random_crop",
    "random_rotate",
    "random_size_crop",
    "resize_short",
    "scale_down",
]

Picture = NDArray | np.ndarray


def imread(filename: str | os.PathLike, flag: int = 1, to_rgb: bool = True) -> NDArray:
    """The picture in a file, on the current context: see :func:`imdecode`.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    return _placed(read(filename, flag, to_rgb))


def read(filename: str | os.PathLike, flag: int = 1, to_rgb: bool = True) -> np.ndarray:
    """The picture in a file, on the host."""
    if not isinstance(filename, str | os.PathLike):
        raise OperatorTypeError(f"imread: filename is {type(filename).__name__}; accepted: str or a path")
    with open(filename, "rb") as file:
        return _decoded(file.read(), flag, to_rgb, os.fspath(filename))


def imdecode(buf: Any, flag: int = 1, to_rgb: bool = True) -> NDArray:
    """The picture in the bytes of a file, on the current context.

    Parameters
    ----------
    buf : bytes or numpy.ndarray of uint8
        A file of any format that Pillow reads, such as JPEG and PNG.
    flag : int, default 1
        1: three channels; 0: one, of grey.
    to_rgb : bool, default True
        False: channels in the order blue, green, red.

    Returns
    -------
    NDArray
        uint8, of shape (height, width, channels).

    Raises
    ------
    MXNetError
        The bytes are no picture, or damaged; or Pillow is not installed.
    """
    if isinstance(buf, NDArray | np.ndarray):
        buf = np.asarray(buf).astype(np.uint8).tobytes()
    if not isinstance(buf, bytes | bytearray | memoryview):
        raise OperatorTypeError(f"imdecode: buf is {type(buf).__name__}; accepted: bytes")
    return _placed(_decoded(bytes(buf), flag, to_rgb, "buf"))


def _placed(host: np.ndarray) -> NDArray:
    return nd.array(host, dtype=host.dtype)


def _decoded(content: bytes, flag: int, to_rgb: bool, what: str) -> np.ndarray:
    """A picture on the host."""
    if Image is None:
        raise AbsentError(
            "imdecode: reading pictures needs Pillow, which is not installed; install it, or clgrad as "
            '"clgrad[images]"'
        )
    if flag not in (0, 1):
        raise argument_error("imdecode", "flag", flag, "0 (grey) or 1 (three channels)")
    try:
        with Image.open(io.BytesIO(content)) as picture:
            host = np.array(picture.convert("RGB" if flag else "L"))
    except (_Unidentified, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MXNetError(f"imdecode: {what}: is no picture that can be read: {error}") from error
    host = host.reshape(*host.shape[:2], -1)
    return host if to_rgb else np.ascontiguousarray(host[:, :, ::-1])


# Sizes

_CUBIC = -0.75


def _cubic(x: np.ndarray) -> np.ndarray:
    """Cubic convolution (Keys, 1981), with OpenCV's parameter."""
    x, a = np.abs(x), _CUBIC
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


#: Kernels, with how far they reach, by MXNet's numbers.
_KERNELS: dict[int, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    1: (lambda x: np.maximum(0, 1 - np.abs(x)), 1),
    2: (_cubic, 2),
    4: (lambda x: np.where(np.abs(x) < 4, np.sinc(x) * np.sinc(x / 4), 0), 4),
}
_NEAREST, _LINEAR, _CUBES, _AREA, _LANCZOS, _AUTOMATIC, _CHANCE = 0, 1, 2, 3, 4, 9, 10


@lru_cache(256)
def _weights(size: int, wanted: int, interp: int) -> np.ndarray:
    """The matrix (wanted, size) that resizes a line: centres of pixels at halves, edges repeated."""
    scale = size / wanted
    matrix = np.zeros((wanted, size), np.float64)
    rows = np.arange(wanted)
    if interp == _NEAREST:
        matrix[rows, np.minimum((rows * scale).astype(int), size - 1)] = 1
    elif interp == _AREA and scale > 1:
        edges = np.arange(size)
        ends = (rows + 1)[:, None] * scale
        matrix = np.clip(np.minimum(ends, edges + 1) - np.maximum(rows[:, None] * scale, edges), 0, None)
    else:
        kernel, reach = _KERNELS[_LINEAR if interp == _AREA else interp]
        centres = (rows + 0.5) * scale - 0.5
        first = np.floor(centres).astype(int) - reach + 1
        for step in range(2 * reach):
            np.add.at(matrix, (rows, np.clip(first + step, 0, size - 1)), kernel(centres - first - step))
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


def _interpolation(interp: int, before: tuple[int, int], after: tuple[int, int]) -> int:
    """MXNet's number of an interpolation; 9 chooses one by the sizes, and 10 by chance."""
    if interp == _AUTOMATIC:
        if after[0] > before[0] and after[1] > before[1]:
            return _CUBES
        return _AREA if after[0] < before[0] and after[1] < before[1] else _LINEAR
    if interp == _CHANCE:
        return int(host_random.source().randint(0, 5))
    if interp not in range(5):
        accepted = "0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos, 9 by the sizes, 10 by chance"
        raise argument_error("imresize", "interp", interp, accepted)
    return interp


def imresize(src: Picture, w: int, h: int, interp: int = 1) -> Any:
    """A picture of another size.

    Parameters
    ----------
    src : NDArray or numpy.ndarray
        (height, width, channels).
    w, h : int
    interp : int, default 1
        0 nearest, 1 linear, 2 cubic, 3 means over areas, 4 Lanczos over 8 x 8; 9 cubic to enlarge and areas
        to shrink; 10 one of the first five, by chance. Formulas are OpenCV's, with weights in float32.

    Returns
    -------
    NDArray or numpy.ndarray
        Of src's kind and dtype.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.image.imresize(mx.nd.ones((4, 6, 3)), 3, 2).shape
    (2, 3, 3)
    """
    height, width, channels = _shape("imresize", src)
    for name, number in (("w", w), ("h", h)):
        if not isinstance(number, int | np.integer) or number < 1:
            raise argument_error("imresize", name, repr(number), "a whole number from 1 on")
    interp = _interpolation(interp, (height, width), (h, w))
    if (h, w) == (height, width):
        return src.copy()
    down, across = _weights(height, int(h), interp), _weights(width, int(w), interp)
    dtype, host = src.dtype, isinstance(src, np.ndarray)
    x = src.astype(np.float32).reshape((height, width * channels))
    if host:
        x = np.matmul(across, np.matmul(down, x).reshape(h, width, channels))
    else:
        with src.context:  # type: ignore[union-attr]
            x = nd.dot(nd.array(down), x).reshape((h, width, channels)).swapaxes(0, 1)
            x = nd.dot(nd.array(across), x.reshape((width, h * channels)))
            x = x.reshape((w, h, channels)).swapaxes(0, 1)
    return saturated(x.round() if np.dtype(dtype).kind in "iu" else x, dtype)


def saturated(x: Any, dtype: Any) -> Any:
    """An array as another dtype; for integers, limited to what these hold, and towards 0."""
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        x = x.clip(limits.min, limits.max)
    return x.astype(dtype)


def _shape(op: str, src: Any) -> tuple[int, int, int]:
    if not isinstance(src, NDArray | np.ndarray):
        raise OperatorTypeError(f"{op}: src is {type(src).__name__}; accepted: NDArray or numpy.ndarray")
    if src.ndim != 3 or 0 in src.shape:
        raise argument_error(op, "src", f"of shape {src.shape}", "(height, width, channels)")
    height, width, channels = src.shape
    return height, width, channels


def scale_down(src_size: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The largest (w, h) of the proportions of ``size`` that fits into ``src_size``, and is not larger.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.image.scale_down((640, 480), (720, 120))
    (640, 106)
    """
    (w, h), (src_w, src_h) = map(float, size), map(float, src_size)
    if src_h < h:
        w, h = w * src_h / h, src_h
    if src_w < w:
        w, h = src_w, h * src_w / w
    return int(w), int(h)


def resize_short(src: Picture, size: int, interp: int = 2) -> Any:
    """A picture whose shorter edge has the length ``size``, of the same proportions."""
    height, width, _ = _shape("resize_short", src)
    if height > width:
        return imresize(src, size, size * height // width, interp)
    return imresize(src, size * width // height, size, interp)


# Parts


def fixed_crop(
    src: Picture, x0: int, y0: int, w: int, h: int, size: tuple[int, int] | None = None, interp: int = 2
) -> Any:
    """A part of a picture, resized to ``size`` (w, h) where that is given.

    Raises
    ------
    OperatorError
        The part is not within the picture.
    """
    height, width, _ = _shape("fixed_crop", src)
    if not (0 <= x0 < x0 + w <= width and 0 <= y0 < y0 + h <= height):
        given = f"{w} x {h} at ({x0}, {y0})"
        raise argument_error("fixed_crop", "the part", given, f"one within {width} x {height}")
    part = src[y0 : y0 + h, x0 : x0 + w]
    if size is not None and (w, h) != tuple(size):
        return imresize(part, *size, interp=interp)
    return part.copy() if isinstance(part, np.ndarray) else part


def center_crop(src: Picture, size: tuple[int, int], interp: int = 2) -> tuple[Any, tuple]:
    """The middle of a picture, of ``size`` (w, h); where the picture is smaller, enlarged to it.

    Returns
    -------
    NDArray or numpy.ndarray
    tuple of int
        Where it was: (x0, y0, w, h).
    """
    height, width, _ = _shape("center_crop", src)
    w, h = scale_down((width, height), size)
    place = (width - w) // 2, (height - h) // 2, w, h
    return fixed_crop(src, *place, size=size, interp=interp), place


def random_crop(src: Picture, size: tuple[int, int], interp: int = 2) -> tuple[Any, tuple]:
    """A part of a picture of ``size`` (w, h), at a place drawn at random: see :func:`center_crop`."""
    height, width, _ = _shape("random_crop", src)
    w, h = scale_down((width, height), size)
    draw = host_random.source().randint
    place = int(draw(0, width - w + 1)), int(draw(0, height - h + 1)), w, h
    return fixed_crop(src, *place, size=size, interp=interp), place


def random_size_crop(
    src: Picture,
    size: tuple[int, int],
    area: float | tuple[float, float],
    ratio: tuple[float, float],
    interp: int = 2,
) -> tuple[Any, tuple]:
    """A part of random size, proportions and place, resized to ``size`` (w, h).

    Parameters
    ----------
    area : float or (float, float)
        The share of the picture: at least, and at most (1 by default).
    ratio : (float, float)
        The proportions w / h: at least, and at most; their logarithm is drawn uniformly.
    """
    height, width, _ = _shape("random_size_crop", src)
    least, most = (area, 1.0) if isinstance(area, int | float) else area
    source = host_random.source()
    for _ in range(10):
        wanted = source.uniform(least, most) * height * width
        proportions = math.exp(source.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(wanted * proportions)), round(math.sqrt(wanted / proportions))
        if 0 < w <= width and 0 < h <= height:
            place = int(source.randint(0, width - w + 1)), int(source.randint(0, height - h + 1)), w, h
            return fixed_crop(src, *place, size=size, interp=interp), place
    return center_crop(src, size, interp)


# Rotations


def imrotate(src: Any, rotation_degrees: Any, zoom_in: bool = False, zoom_out: bool = False) -> Any:
    """A picture, or each of a batch, turned about its middle, of the same size.

    At (x, y) from the middle is what the source has at z (x cos a - y sin a, x sin a + y cos a), by linear
    interpolation, and 0 beyond its edges. z is 1; k with ``zoom_out`` and 1 / k with ``zoom_in``, where
    k = |cos a| + |sin a| max(height / width, width / height).

    Parameters
    ----------
    src : NDArray or numpy.ndarray
        float32, (channels, height, width) or (pictures, channels, height, width).
    rotation_degrees : float, or NDArray or numpy.ndarray of shape (pictures,)
        The angle a; of a batch, one for all or one for each.
    zoom_in : bool, default False
        Enlarge, so that nothing beyond the edges is seen.
    zoom_out : bool, default False
        Shrink, so that all of the source is seen.

    Returns
    -------
    NDArray or numpy.ndarray
        Of src's kind.

    Raises
    ------
    OperatorError
        Both zooms, another shape or dtype, or not as many angles as pictures.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.image.imrotate(mx.nd.array([[[1, 2], [3, 4]]]), 180).asnumpy().round(3)
    array([[[4., 3.],
            [2., 1.]]], dtype=float32)
    """
    if zoom_in and zoom_out:
        raise argument_error("imrotate", "zoom_in, zoom_out", "both True", "one of them at most")
    if not isinstance(src, NDArray | np.ndarray):
        given = type(src).__name__
        raise OperatorTypeError(f"imrotate: src is {given}; accepted: NDArray or numpy.ndarray")
    if src.ndim not in (3, 4) or min(src.shape[-2:]) < 2 or np.dtype(src.dtype) != np.float32:
        accepted = "float32 (channels, height, width), of 2 x 2 and more, or a batch of such"
        raise argument_error("imrotate", "src", f"{np.dtype(src.dtype)} {src.shape}", accepted)
    batch: Any = src if src.ndim == 4 else src.reshape((1, *src.shape))
    degrees = rotation_degrees
    if isinstance(degrees, int | float | np.number):
        degrees = np.full(len(batch), degrees, np.float32)
    if not isinstance(degrees, NDArray | np.ndarray) or degrees.shape != (len(batch),):
        accepted = f"a number, or an array of {len(batch)}, as pictures"
        raise argument_error("imrotate", "rotation_degrees", repr(rotation_degrees), accepted)
    if isinstance(src, np.ndarray) and isinstance(degrees, NDArray):
        degrees = degrees.asnumpy()
    height, width = batch.shape[2:]
    across, down = _turned(degrees, height, width, zoom_out - zoom_in)
    if isinstance(src, np.ndarray):
        return _sampled(batch, across + (width - 1) / 2, down + (height - 1) / 2).reshape(src.shape)
    parts = [across * (2 / (width - 1)), down * (2 / (height - 1))]  # edges at -1 and 1
    on_host = isinstance(across, np.ndarray)
    grid = nd.array(np.stack(parts, 1), src.context) if on_host else nd.stack(*parts, axis=1)
    return nd.BilinearSampler(batch, grid.as_in_context(src.context)).reshape(src.shape)


def _turned(degrees: Any, height: int, width: int, zoom: int) -> tuple[Any, Any]:
    """Where pixels come from, from the middle: x and y, both of shape (pictures, height, width)."""
    x: Any = (np.arange(width, dtype=np.float32) - (width - 1) / 2).reshape(1, 1, width)
    y: Any = (np.arange(height, dtype=np.float32) - (height - 1) / 2).reshape(1, height, 1)
    angle = degrees.astype(np.float32).reshape((-1, 1, 1)) * (math.pi / 180)
    ops: Any = np
    if isinstance(degrees, NDArray):
        ops, (x, y) = nd, (nd.array(n, degrees.context) for n in (x, y))
    cosine, sine = ops.cos(angle), ops.sin(angle)
    across, down = x * cosine - y * sine, x * sine + y * cosine
    if zoom:
        far = ops.abs(cosine) + ops.abs(sine) * max(height / width, width / height)
        far = far if zoom > 0 else 1 / far
        across, down = across * far, down * far
    return across, down


def _sampled(batch: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pixels at places (pictures, height, width) of a batch, interpolated; 0 beyond the edges."""
    height, width = batch.shape[2:]
    pictures = np.arange(len(batch))[:, None, None]
    left, top = np.floor(x), np.floor(y)
    total = np.zeros((*x.shape, batch.shape[1]), np.float32)
    for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
        weight = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        places = [np.clip(n, 0, size - 1).astype(int) for n, size in ((row, height), (column, width))]
        total += batch[pictures, :, places[0], places[1]] * (weight * inside)[..., None]
    return np.moveaxis(total, 3, 1)


def random_rotate(
    src: Any, angle_limits: tuple[float, float], zoom_in: bool = False, zoom_out: bool = False
) -> Any:
    """A picture, or each of a batch, turned by an angle drawn uniformly: see :func:`imrotate`.

    Parameters
    ----------
    src : NDArray or numpy.ndarray
    angle_limits : (float, float)
        In degrees, at least and at most.
    zoom_in, zoom_out : bool, default False
    """
    count = len(src) if src.ndim == 4 else None
    return imrotate(src, host_random.source().uniform(*angle_limits, size=count), zoom_in, zoom_out)


def color_normalize(src: Any, mean: Any, std: Any = None) -> Any:
    """(src - mean) / std; without the one that is None."""
    x = src if mean is None else src - mean
    return x if std is None else x / std
