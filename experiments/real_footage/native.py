"""Real footage at its native size, from a folder to a train step of both models.

  python experiments/real_footage/native.py --out=DIR [--downloads=DIR]

Claim: six real videos and a portrait cut of one of them (five sizes, four frame
rates, one of several shots) go through `sora-jax prepare --cuts`, a VAE train
step, `encode` and a DiT train step, by the commands a user types, and nothing
is made square. Only the first two seconds or so are taken, and clips are
reduced to 576 tokens, so that the test configs hold them.

Downloads the packages that collect.py names. Takes some minutes on two cores.
"""

import argparse
import pathlib
import subprocess
import sys

import collect

from sora_jax.data.store import manifest
from sora_jax.media import video_io

ROOT = pathlib.Path(__file__).parent.parent.parent
ROW = 576  # tokens of a row of the test transformer
FRAMES = 60  # of each file


def files(out: pathlib.Path, downloads: pathlib.Path) -> None:
  """Writes the beginning of each video with a sidecar, and a portrait cut."""
  out.mkdir(parents=True, exist_ok=True)

  def save(name, video, fps, caption):
    video_io.write(out / f"{name}.mp4", video, fps, crf=16)
    (out / f"{name}.txt").write_text(caption + "\n")
    print(f"{name}: {len(video)} frames of {video.shape[2]}x{video.shape[1]} at "
          f"{fps:.4g} a second")

  for name, caption, data in collect.members(*collect.download(downloads)):
    video, fps = video_io.read(data, FRAMES)
    name = pathlib.Path(name).stem
    save(name, video, fps, caption)
    if name == "cup":
      save("portrait", video[:, :, 180:450], fps, f"{caption}, upright")


def command(*argv) -> None:
  """Runs `sora-jax` as a user does; stops where it fails."""
  argv = [str(a) for a in argv]
  print("+ sora-jax", *argv, flush=True)
  subprocess.run([sys.executable, "-m", "sora_jax", *argv], check=True)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--out", required=True, type=pathlib.Path)
  parser.add_argument("--downloads", type=pathlib.Path)
  args = parser.parse_args()
  at, configs = args.out, ROOT / "configs"
  files(at / "files", args.downloads or at / "downloads")
  command("prepare", f"folder:{at}/files", f"--out={at}/data", "--cuts",
          "--min_frames=17", "--test_share=0.1", f"--max_tokens={ROW}",
          "--token=4x16x16", "--shard=4")
  command("train", f"--config={configs}/vae.py:test", f"--data={at}/data",
          f"--workdir={at}/vae_run", "--config.steps=2",
          "--config.data.buckets=((1,48,48,4,0.5),(5,48,48,2,0.5))")
  command("export", f"--workdir={at}/vae_run", f"--out={at}/vae")
  command("encode", f"--vae={at}/vae", f"--data={at}/data",
          f"--out={at}/latents", "--suffixes=1", "--keyframes=1")
  command("train", f"--config={configs}/dit.py:test", f"--data={at}/latents",
          f"--vae={at}/vae", f"--workdir={at}/dit_run", "--config.steps=2",
          f"--config.data.shapes=((2,{ROW}),)")
  rows = manifest.open_manifest(at / "latents").entries
  print(f"{at}/data/report.html shows what was prepared")
  sizes = {(int(r["width"]), int(r["height"])) for r in rows}
  rates = {round(float(r["fps"]), 2) for r in rows}
  print(f"trained on {len(rows)} clips of {len(sizes)} sizes {sorted(sizes)} "
        f"and {len(rates)} frame rates {sorted(rates)}")
  held = (len(sizes) >= 4 and len(rates) >= 2 and any(h > w for w, h in sizes)
          and all(w != h for w, h in sizes))
  print(f"the claim {'held' if held else 'did NOT hold'}")
  sys.exit(not held)


if __name__ == "__main__":
  main()
