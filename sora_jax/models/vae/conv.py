"""Convolutions over video that are causal in time, on any platform.

Output frame i of a causal convolution reads input frames i-2, i-1 and i; before
the first frame there are zeros. A convolution over a chunk of a clip reads the
two frames before the chunk from its cache, so chunks in a row equal the whole.

The same sum has two forms. "native" is one 3D convolution. "fold" puts the
three temporal taps side by side on the channel axis and makes one 2D
convolution over all frames, which XLA on CPU runs several times faster.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import types

TAPS = 3  # temporal taps of a causal convolution; its cache has TAPS - 1 frames


def backend_of_platform() -> str:
  """The form of the causal convolution that is fastest where we run."""
  return "fold" if mesh_lib.platform() == "cpu" else "native"


def with_cache(x: jax.Array, cache: jax.Array | None) -> jax.Array:
  """The two frames before x, then x: [B, T + 2, H, W, C].

  Without a cache, at the start of a clip, the two frames are zeros.
  """
  if cache is None:
    return jnp.pad(x, ((0, 0), (TAPS - 1, 0)) + ((0, 0),) * 3)
  return jnp.concatenate([cache.astype(x.dtype), x], axis=1)


def conv3d(x: jax.Array, kernel: jax.Array,
           backend: str | None = None) -> jax.Array:
  """A convolution with no padding in time and "same" padding in space.

  Args:
    x: [B, T + 2, H, W, C].
    kernel: [3, 3, 3, C, O] or [3, 1, 1, C, O].
    backend: "native" or "fold"; by platform if None.

  Returns:
    [B, T, H, W, O].
  """
  backend = backend or backend_of_platform()
  if backend == "native":
    x, *pad = with_border(x, kernel.shape[1:3])
    pad = [(0, 0), *pad]
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1, 1), pad,
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))
  return conv2d(fold_time(x), fold_kernel(kernel), backend=backend)


def fold_time(x: jax.Array, stride: int = 1) -> jax.Array:
  """Taps side by side: [B, T + 2, H, W, C] to [B, T / stride, H, W, 3 C]."""
  frames = x.shape[1] - TAPS + 1
  return jnp.concatenate(
      [x[:, k:k + frames:stride] for k in range(TAPS)], axis=-1)


def fold_kernel(kernel: jax.Array) -> jax.Array:
  """The kernel [3, kh, kw, C, O] for folded taps: [kh, kw, 3 C, O]."""
  taps, kh, kw, c, out = kernel.shape
  return kernel.transpose(1, 2, 0, 3, 4).reshape(kh, kw, taps * c, out)


def conv2d(x: jax.Array, kernel: jax.Array, stride: int = 1,
           backend: str | None = None) -> jax.Array:
  """Convolves each frame of [B, T, H, W, C] with [3, 3, C, O] or [1, 1, C, O].

  Stride 1 pads alike on all sides; stride 2 pads one row and column of zeros at
  the bottom and the right, as the Wan VAEs do.
  """
  b, t, h, w, c = x.shape
  kh, kw, _, out = kernel.shape
  if (kh, kw) == (1, 1):
    return (x.reshape(-1, c) @ kernel.reshape(c, out)).reshape(b, t, h, w, out)
  x, *pad = with_border(x, (kh, kw), stride)
  x = x.reshape(b * t, *x.shape[2:])
  if pad == [(1, 1), (1, 1)] and (backend or backend_of_platform()) == "fold":
    y = conv2d_cpu(x, kernel)
  else:
    y = _conv(x, kernel, pad, stride)
  return y.reshape(b, t, *y.shape[1:])


def with_border(x: jax.Array, size: tuple[int, int], stride: int = 1
                ) -> tuple[jax.Array, tuple[int, int], tuple[int, int]]:
  """(x, padding of rows, padding of columns) for a kernel of `size`.

  Where a mesh splits the columns of x [B, T, H, W, C], x gets those of its
  neighbours and needs no padding along them.
  """
  rows, columns = ((n // 2, n // 2) if stride == 1 else (0, 1) for n in size)
  if any(columns) and mesh_lib.splits(mesh_lib.TOKENS):
    x, columns = mesh_lib.halo(x, 3, mesh_lib.TOKENS, *columns), (0, 0)
  return x, rows, columns


def _conv(x, kernel, pad, stride=1):
  return jax.lax.conv_general_dilated(
      x, kernel, (stride, stride), pad,
      dimension_numbers=("NHWC", "HWIO", "NHWC"))


@jax.custom_vjp
def conv2d_cpu(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """A 3 x 3 convolution of [N, H, W, C] with [3, 3, C, O], fast on CPU.

  The gradient of the kernel is three matrix products, one for each of its rows.
  XLA's own is a convolution with a window as large as the frame, which takes
  more than twice the time.
  """
  return _threaded(x, kernel)


def _threaded(x, kernel):
  # Compute one extra output row and drop it: XLA gives a convolution whose
  # output is as large as its input to a library that uses one thread (YNNPACK,
  # jaxlib 0.10), and this one to Eigen, which uses all.
  return _conv(x, kernel, ((1, 2), (1, 1)))[:, :x.shape[1]]


def _conv2d_cpu_fwd(x, kernel):
  return _threaded(x, kernel), (x, kernel)


def _conv2d_cpu_bwd(saved, g):
  x, kernel = saved
  (_, _, w, c), out = x.shape, g.shape[-1]
  grad_x = _threaded(g, kernel[::-1, ::-1].swapaxes(2, 3))
  g = jnp.pad(g, ((0, 0), (0, 0), (1, 1), (0, 0)))
  g = jnp.concatenate([g[:, :, 2 - k:2 - k + w] for k in range(3)], axis=-1)
  # g has a shift for each kernel column; `shifts` one for each kernel row.
  none = jnp.zeros_like(g[:, :1])
  shifts = [jnp.concatenate([g[:, 1:], none], axis=1), g,
            jnp.concatenate([none, g[:, :-1]], axis=1)]
  rows = [x.reshape(-1, c).T @ s.reshape(-1, 3 * out) for s in shifts]
  return grad_x, jnp.stack(rows).reshape(3, c, 3, out).swapaxes(1, 2)


conv2d_cpu.defvjp(_conv2d_cpu_fwd, _conv2d_cpu_bwd)


class CausalConv(nn.Module):
  """A causal 3 x kh x kw convolution with bias.

  Takes x [B, T, H, W, C] and a cache, the two input frames before x or None at
  the start; returns the output and the cache for the next chunk.
  """

  features: int
  space: int = 3

  @nn.compact
  def __call__(self, x: jax.Array, cache: jax.Array | None = None
               ) -> tuple[jax.Array, jax.Array]:
    kernel, bias = _params(self, (TAPS, self.space, self.space, x.shape[-1]), x)
    seen = with_cache(x, cache)
    if cache is None and x.shape[1] == 1:  # an image meets only the last tap
      y = conv2d(x, kernel[-1])
    else:
      y = conv3d(seen, kernel)
    return y + bias, seen[:, 1 - TAPS:]


class HalfTime(nn.Module):
  """Halves time after the first frame: a 3 x 1 x 1 convolution of stride 2.

  The first frame of a clip passes unchanged; every later pair of frames is
  convolved with the frame before it. The cache is the last frame.
  """

  features: int

  @nn.compact
  def __call__(self, x: jax.Array, cache: jax.Array | None = None
               ) -> tuple[jax.Array, jax.Array]:
    kernel, bias = _params(self, (TAPS, 1, 1, x.shape[-1]), x)
    seen = x
    if cache is not None:
      seen = jnp.concatenate([cache.astype(x.dtype), x], axis=1)
    y = x[:, :0]
    if seen.shape[1] >= TAPS:
      y = conv2d(fold_time(seen, 2), fold_kernel(kernel)) + bias
    y = jnp.concatenate([x[:, :1], y], axis=1) if cache is None else y
    return y, x[:, -1:]


class FrameConv(nn.Module):
  """A 2D convolution of each frame, of stride 1 or 2, with bias."""

  features: int
  space: int = 3
  stride: int = 1

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    kernel, bias = _params(self, (self.space, self.space, x.shape[-1]), x)
    return conv2d(x, kernel, self.stride) + bias


class PointConv(nn.Module):
  """A 1 x 1 x 1 convolution; its kernel has the reference's shape."""

  features: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    kernel, bias = _params(self, (1, 1, 1, x.shape[-1]), x)
    return conv2d(x, kernel[0]) + bias


def _params(module, shape, x):
  """Kernel and bias in the dtype of x; zero until `draw_kernels`."""
  zeros = nn.initializers.zeros
  kernel = module.param("kernel", zeros, (*shape, module.features), jnp.float32)
  bias = module.param("bias", zeros, (module.features,), jnp.float32)
  return kernel.astype(x.dtype), bias.astype(x.dtype)


def draw_kernels(key: jax.Array, params: types.PyTree,
                 zero: str) -> types.PyTree:
  """`params` with normal kernels of variance 1 / fan in.

  A kernel whose path has a part named `zero` stays zero. One random stream
  fills all: a random operation for each kernel takes XLA on CPU most of a
  minute to compile.
  """
  leaves, tree = jax.tree_util.tree_flatten_with_path(params)
  names = [jax.tree_util.keystr(path, simple=True, separator="/")
           for path, _ in leaves]
  drawn = [n.endswith("kernel") and zero not in n.split("/") for n in names]
  sizes = [x.size if d else 0 for (_, x), d in zip(leaves, drawn)]
  parts = jnp.split(jax.random.normal(key, (sum(sizes),)),
                    np.cumsum(sizes)[:-1])
  return tree.unflatten([
      part.reshape(x.shape) * (x.shape[-1] / x.size)**0.5 if d else x
      for (_, x), part, d in zip(leaves, parts, drawn)])
