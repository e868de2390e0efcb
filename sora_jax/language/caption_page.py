"""page.html: the captions of some clips before and after, without scripts."""

import html
import os
from typing import Any

import numpy as np

from sora_jax import files
from sora_jax.data.prepare import report_page
from sora_jax.data.store import captions as captions_lib
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.encoding import video as video_lib
from sora_jax.formats import pretrained
from sora_jax.media import video_io
from sora_jax.models.vae import vae as vae_lib

CLIPS = 50


def write(store: captions_lib.Captions,
          vae: pretrained.Model | None = None) -> str:
  """Writes page.html to the folder of an origin; its path.

  Args:
    store: the captions, of the split that is shown.
    vae: decodes the first frame of latents; without it these have no picture.
  """
  manifest = store.manifest
  index = np.unique(np.linspace(0, len(manifest) - 1, CLIPS).astype(int)).tolist()
  figures = list(map(_figure, _pictures(manifest, index, vae), [
      _own(manifest, i) for i in index], [_new(store, i) for i in index]))
  title = html.escape(f"Captions of {manifest.root} by {store.info['origin']}")
  told = ", ".join(f"{n:,} {split}" for split, n in store.info["clips"].items())
  path = os.path.join(store.folder, "page.html")
  files.write_text(path, "\n".join([
      report_page.HEAD.format(title=title), f"<h1>{title}</h1>",
      f"<p>{told} clips; empty {store.info['empty']:,}, unreadable "
      f"{store.info['unreadable']:,}. These {len(index)} lie evenly over "
      f"{manifest.split}.</p>", '<div class="clips" style="grid-template-columns: '
      'repeat(auto-fill, minmax(320px, 1fr))">', *figures, "</div></body></html>",
      ""]))
  return path


def _figure(jpeg: str, before: tuple[str, ...], after: tuple[str, ...]) -> str:
  picture = f'<img alt="" src="data:image/jpeg;base64,{jpeg}">' * bool(jpeg)
  lines = lambda texts: "<br>".join(html.escape(t) or "(empty)" for t in texts)
  return (f"<figure>{picture}<small>before</small><br>{lines(before)}<br>"
          f"<small>after</small><br><b>{lines(after)}</b></figure>")


def _own(manifest: manifest_lib.Manifest, index: int) -> tuple[str, ...]:
  """The captions of a record, or why it has none."""
  try:
    return own_captions(manifest, index)
  except ValueError as e:
    return (str(e),)


def own_captions(manifest: manifest_lib.Manifest, index: int) -> tuple[str, ...]:
  """The captions in the record of an entry.

  Raises:
    ValueError: it cannot be read.
  """
  data = manifest.record(index)
  if manifest.info.get("kind") == "latents":
    return latents.captions_of(data)
  return records.decode(data).captions


def _new(store: captions_lib.Captions, index: int) -> tuple[str, ...]:
  try:
    return store.of(index)
  except ValueError as e:
    return (str(e),)


def _pictures(manifest: manifest_lib.Manifest, index: list[int],
              vae: pretrained.Model | None) -> list[str]:
  """A JPEG in base64 of each clip; "" where there is none."""
  if manifest.info.get("kind") == "latents":
    frames = _first_frames(manifest, index, vae) if vae else {}
  else:
    frames = {i: frame for i in index
              if (frame := _middle_frame(manifest, i)) is not None}
  return [report_page.thumbnail(frames[i]) if i in frames else "" for i in index]


def _middle_frame(manifest: manifest_lib.Manifest, index: int) -> Any:
  """The middle frame of a clip, None where it cannot be read."""
  try:
    item = records.read(manifest, index)
    return video_io.read(item.data, 1, item.frames // 2)[0][0]
  except ValueError:
    return None


def _first_frames(manifest: manifest_lib.Manifest, index: list[int],
                  vae: pretrained.Model) -> dict[int, np.ndarray]:
  """The first frames of latents, all decoded by one program."""
  found = {}
  for i in index:
    try:
      found[i] = latents.decode(manifest.record(i))
    except ValueError:
      continue  # the page says why
  if not found or vae.vae is None:
    return {}
  height, width = (max(r.z.shape[axis] for r in found.values()) for axis in (1, 2))
  frames = {}
  for i, record in found.items():
    _, h, w, _ = record.z.shape
    z = np.pad(record.z[:1].astype(np.float32), (
        (0, 0), (0, height - h), (0, width - w), (0, 0)))
    raw = vae_lib.denormalise(z[None], vae.latent_mean, vae.latent_std)
    frame = video_lib.decode(vae.vae, np.asarray(raw))[0, 0]
    frames[i] = frame[:record.size[1], :record.size[2]]
  return frames
