"""Records what the commands of a tree make, to compare it with another tree.

  python experiments/house/record.py --tree=DIR --out=FILE.json [--work=DIR]
  python experiments/house/record.py --compare A.json B.json

For a change of the code that must not change what it makes: record the tree
before and after it, and compare. FILE.json has a digest or the value of all
that the commands of CHAINS make (frames, provenance, data sets, latents,
metrics, checkpoints, model folders, scores, what was printed), FILE.npz the
arrays, so that rounding is told from a change: a level of 255 in frames, 1e-5
(of the largest value, if that is below 1) or one unit in the last place
elsewhere. What has another name and the same digest counts as equal and is
printed as renamed.

Nothing here imports the package, so that one script records both trees. A
command that fails is recorded as what it said.
"""

import argparse
from concurrent import futures
import glob
import hashlib
import io
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time
import traceback

from array_record.python import array_record_module
import av
import numpy as np
import orbax.checkpoint as ocp
from PIL import Image, ImageSequence
import safetensors.numpy
import tensorflow_datasets as tfds

BALL = '--prompt="a red ball moves to the right"'
# name: command. A chain runs in order, the two chains side by side, in a folder
# where all paths are relative.
CHAINS = ({
    "default": f"generate {BALL} --seed=1 --out=default.mp4",
    "ab2": 'generate --prompt="a blue square moves up" --size=56x96 --frames=9 '
           "--steps=8 --method=ab2 --out=ab2.mp4",
    "euler": 'generate --prompt="a large yellow disc moves down" --size=128x72 '
             "--frames=17 --steps=8 --method=euler --negative=wall "
             "--out=euler.mp4",
    "folder": f"generate {BALL} --steps=8 --method=folder --out=folder.webp",
    "image": 'generate --prompt="a red ball" --frames=1 --steps=8 --seed=4 '
             "--out=ball.png",
    "fps": f"generate {BALL} --fps=16 --steps=8 --guidance=1 --out=fps.gif",
    "long": f"generate {BALL} --size=32x48 --frames=97 --window=49 --steps=8 "
            "--out=long.mp4",
    "grid": f"generate {BALL} --count=2 --grid --steps=8 --out=grid.mp4",
    "half": f"generate {BALL} --dtype=bfloat16 --steps=8 --out=half.png",
    "prompts": "generate --prompts=prompts.jsonl --steps=8 --out=prompts",
    "animate": f"animate ball.png {BALL} --steps=8 --out=animate.mp4",
    "animate_at": f"animate ball.png {BALL} --at=8 --frames=17 --steps=8 "
                  "--out=at.mp4",
    "forward": "extend default.mp4 --frames=16 --steps=8 --out=forward.mp4",
    "backward": "extend default.mp4 --direction=backward --frames=12 --count=2 "
                "--steps=8 --out=backward.mp4",
    "both": "extend ab2.mp4 --direction=both --frames=8 --steps=8 "
            "--out=both.mp4",
    "loop": "loop default.mp4 --frames=8 --steps=8 --out=loop.mp4",
    "endless": "loop --prompt='a small green triangle moves up' --frames=24 "
               "--steps=8 --out=endless.mp4",
    "connect": "connect default.mp4 ab2.mp4 --frames=16 --steps=8 "
               "--out=connect.mp4",
    "edit": 'edit default.mp4 --prompt="a green ball moves to the right" '
            "--steps=8 --out=edit.mp4",
    "inpaint": "inpaint default.mp4 --region=0,0,64,32 --steps=8 "
               '--prompt="a small yellow square" --out=inpaint.mp4',
    "inpaint_time": "inpaint default.mp4 --region=8,8,24,20,4,12 --steps=8 "
                    f"{BALL} --method=ab2 --out=inpaint_time.mp4",
    "upscale": "upscale default.mp4 --size=96x96 --steps=8 --out=upscale.mp4",
    "scores_vae": "evaluate --suite=vae --count=4 --sizes=64x64 "
                  "--out=scores_vae",
}, {
    "clips_dry": "prepare folder:clips --out=clips_dry --dry-run",
    "clips": "prepare folder:clips --out=clips_data --test_share=0.2",
    "cuts": "prepare folder:more --out=cuts --cuts --max_seconds=20",
    "mixed": "prepare 3*folder:clips folder:more shards:clips_data --out=mixed "
             "--max_tokens=64 --token=4x8x8 --shard=4 --near=4",
    "worlds": "prepare world:balls,occluder --out=worlds --count=24 --shard=9 "
              "--frames=1:1,5:1,9:2,17:4,33:1 --test_share=0.2 --seed=3",
    "vae_plan": "plan-data --config=configs/vae.py:test --data=worlds",
    "vae": "train --config=configs/vae.py:test --config.steps=20 --data=worlds "
           "--workdir=vae",
    "vae_model": "export --workdir=vae --out=vae_model --dtype=float32",
    "latents": "encode --vae=vae_model --data=worlds --out=latents",
    "latents_tiny": "encode --vae=tiny --data=clips_data --max_tokens=60 "
                    "--out=latents_tiny",
    "dit_plan": "plan-data --config=configs/dit.py:test --data=latents",
    "dit_plan_pixels": "plan-data --config=configs/dit.py:test --stride=4x8x8 "
                       "--tokens=300 --data=mixed",
    "dit": "train --config=configs/dit.py:test --config.steps=20 "
           "--data=latents --vae=vae_model --workdir=dit",
    "dit_model": "export --workdir=dit --out=dit_model --dtype=float32",
    "dit_draws": f"generate --model=dit_model {BALL} --out=mine.mp4",
    "scores": "evaluate --count=20 --batch=10 --out=scores",
})
UNMEASURED = ("seconds", "leaves", "plan", "versions", "revision")
EPS = 1e-5

# How a verb refuses a flag that was renamed.
RENAMED = re.compile(r"(--\w+) is called (--\w+) now")


def clip(path, size, frames, fps, seed, still=False) -> None:
  """Writes a square that moves over a gradient; equal calls, equal bytes."""
  (width, height), rng = size, np.random.default_rng(seed)
  y, x = np.mgrid[:height, :width][..., None]
  back = 40 + (rng.integers(40, 90, 3) * (x / width + y / height)) / 2
  colour, side = rng.integers(0, 255, 3), min(size) // 3
  video = np.stack([back] * frames).astype(np.uint8)
  for t in range(frames):
    at = 0 if still else round((width - side) * t / max(frames - 1, 1))
    video[t, side:2 * side, at:at + side] = colour
  if path.suffix in (".mp4", ".mkv"):
    with av.open(str(path), "w") as file:
      stream = file.add_stream("libx264", rate=fps, options={
          "crf": "12", "x264-params": "mbtree=0"})
      stream.width, stream.height = size
      stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
      stream.codec_context.thread_count = 1
      for frame in video:
        file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
      file.mux(stream.encode())
  else:
    first, *rest = map(Image.fromarray, video)
    first.save(path, **(dict(save_all=True, append_images=rest, loop=0,
                             duration=1000 // fps) if rest else {}))


def inputs(work: pathlib.Path) -> None:
  """Writes the clips, captions and prompts that CHAINS read."""
  for name in ("clips/sub", "more", "prompts"):
    (work / name).mkdir(parents=True)
  files = [("a.mp4", (64, 48), 25, 8), ("b.mp4", (48, 64), 17, 12),
           ("c.mkv", (96, 56), 33, 24), ("d.gif", (40, 40), 9, 10),
           ("odd.mp4", (51, 33), 9, 8), ("sub/e.mp4", (64, 64), 49, 16),
           ("sub/f.mp4", (80, 32), 13, 8), ("static.mp4", (48, 48), 12, 8),
           ("small.mp4", (12, 12), 9, 8), ("silent.mp4", (32, 32), 9, 8),
           ("one.png", (64, 40), 1, 1), ("two.jpg", (33, 47), 1, 1),
           ("sub/three.webp", (32, 32), 1, 1)]
  for i, (name, size, frames, fps) in enumerate(files):
    clip(work / "clips" / name, size, frames, fps, i, name == "static.mp4")
  whole = (work / "clips" / "a.mp4").read_bytes()
  (work / "clips" / "equal.mp4").write_bytes(whole)
  (work / "clips" / "broken.mp4").write_bytes(whole[:300])
  (work / "clips" / "notes.doc").write_text("no clip")
  names = [f[0] for f in files if f[0] not in ("silent.mp4", "sub/f.mp4")]
  rows = [json.dumps({"file": name, "caption": f"a square moves, number {i}"}
                     | ({"descriptive": f"number {i} of the squares moves over "
                         "a gradient to the right"} if i % 2 else {}))
          for i, name in enumerate(
              [*names, "equal.mp4", "broken.mp4", "no.mp4"])]
  (work / "clips" / "all.jsonl").write_text("\n".join([*rows, "{no row"]))
  (work / "clips" / "sub" / "f.txt").write_text("a wide clip\nwide and slow\n")
  for i, size in enumerate([(64, 48), (48, 80), (72, 72)]):
    clip(work / "more" / f"{i}.mp4", size, 20 + 8 * i, 10, 50 + i)
    (work / "more" / f"{i}.txt").write_text(f"square {i} of more\n")
  (work / "prompts.jsonl").write_text("\n".join(map(json.dumps, [
      {"prompt": "a blue square moves up", "frames": 5, "size": "48x40"},
      {"prompt": "a green ball", "frames": 1, "seed": 7}])))


def flat(value, name: str) -> dict:
  """A JSON value as {path: plain value}."""
  if isinstance(value, dict) or (
      isinstance(value, list) and any(isinstance(x, dict) for x in value)):
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return {k: v for key, x in pairs if key not in UNMEASURED
            for k, v in flat(x, f"{name}/{key}").items()}
  return {name: value}


def media(source, name: str) -> dict:
  """Frames and provenance of a video or image, a path or the bytes."""
  data = source if isinstance(source, bytes) else source.read_bytes()
  try:
    file = Image.open(io.BytesIO(data))
  except OSError:
    with av.open(io.BytesIO(data)) as file:
      stream = file.streams.video[0]
      frames = [f.to_ndarray(format="rgb24") for f in file.decode(stream)]
      text = file.metadata.get("comment") or "{}"
      about = {"fps": str(stream.average_rate),
               "format": stream.codec_context.pix_fmt}
  else:
    frames = [np.asarray(frame.convert("RGB"))
              for frame in ImageSequence.Iterator(file)]
    text = (file.info.get("sora_jax") or file.info.get("comment")
            or file.getexif().get(0x010E) or "{}")
    about = {"fps": file.info.get("duration"), "format": file.format}
  return {f"{name}/frames": np.stack(frames), **flat(about, f"{name}/file"),
          **flat(json.loads(text), f"{name}/about")}


def data_set(folder: pathlib.Path) -> dict:
  """A folder of `prepare` or `encode`: manifest, records, what was rejected."""
  found = {}
  for path in sorted(folder.glob("*.npy")):
    rows, split = np.load(path), path.stem
    found |= {f"{split}/column/{c}": rows[c] for c in rows.dtype.names}
    if (folder / "features.json").exists():
      source = tfds.builder_from_directory(folder).as_data_source(split)
      for i, record in enumerate(source):
        found |= media(record.pop("video"), f"{split}/{i}")
        found |= {f"{split}/{i}/{k}": str(v) for k, v in record.items()}
      continue
    at = 0
    for shard in sorted(folder.glob(f"sora-{split}.array_record-*")):
      for data in array_record_module.ArrayRecordReader(str(shard)).read_all():
        head = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
        found |= {f"{split}/{at}/{k}": v
                  for k, v in safetensors.numpy.load(data).items()}
        for text in head["__metadata__"].values():
          found |= flat(json.loads(text), f"{split}/{at}/about")
        at += 1
  return found


def run_of(folder: pathlib.Path) -> dict:
  """A work folder of `train`: metrics, previews and the last checkpoint."""
  lines = [json.loads(line) for line in (
      folder / "metrics.jsonl").read_text().splitlines()]
  found = {f"metrics/{k}": np.array([x.get(k) for x in lines], np.float64)
           for k in lines[-1] if k != "timing"}
  last = max((folder / "checkpoints").iterdir(), key=lambda p: int(
      p.name) if p.name.isdigit() else -1)
  for item in ("state", "ema"):
    tree = ocp.StandardCheckpointer().restore(last.absolute() / item)
    found |= leaves(tree, f"checkpoint/{item}")
  found |= flat(json.loads((last / "meta" / "metadata").read_text()), "meta")
  return found | {"checkpoint/step": last.name}


def leaves(tree, name: str) -> dict:
  """The arrays of a tree of dicts and sequences, by their paths."""
  if isinstance(tree, (dict, list, tuple)):
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {k: v for key, x in pairs for k, v in leaves(
        x, f"{name}/{key}").items()}
  return {} if tree is None else {name: np.asarray(tree)}


def loose(path: pathlib.Path, name: str) -> dict:
  """What is in a file of a folder that a command has made."""
  if path.suffix in (".mp4", ".png", ".gif", ".webp"):
    return media(path, name)
  if path.suffix == ".safetensors":
    return {f"{name}/{k}": v
            for k, v in safetensors.numpy.load_file(path).items()}
  if path.suffix == ".npz":
    return {f"{name}/{k}": v for k, v in np.load(path).items()}
  if path.suffix == ".json":
    return flat(json.loads(path.read_text()), name)
  if path.suffix == ".jsonl":
    return flat(dict(enumerate(path.read_text().splitlines())), name)
  if path.suffix == ".model":
    return {name: hashlib.sha256(path.read_bytes()).hexdigest()}
  text = path.read_text()
  return {name: re.sub(r"data:image[^\"']+", "PICTURE", text)}


def made(verb: str, target: pathlib.Path) -> dict:
  """All that a verb has made at its --out or --workdir."""
  if target.suffix:
    stem = glob.escape(target.stem)
    paths = [target, *sorted(target.parent.glob(f"{stem}-*{target.suffix}"))]
    return {k: v for path in paths if path.exists()
            for k, v in media(path, path.name).items()}
  found, names = {}, ["**/*"]
  if verb == "train":
    found, names = run_of(target), ["previews/**/*"]
  elif verb in ("prepare", "encode"):
    found, names = data_set(target), [
        "dataset.json", "features.json", "dataset_info.json", "rejects.jsonl",
        "tokenizer.model", "report.html"]
  for path in sorted({p for n in names for p in target.glob(n) if p.is_file()}):
    found |= loose(path, str(path.relative_to(target)))
  return found


def record(tree: pathlib.Path, work: pathlib.Path) -> tuple[dict, dict]:
  """{command: {name: array or plain value}} and {command: seconds}."""
  os.symlink(tree / "configs", work / "configs")
  env = os.environ | {"PYTHONPATH": str(tree), "JAX_PLATFORMS": "cpu"}
  call = lambda *a: subprocess.run([sys.executable, *a], cwd=work, env=env,
                                   capture_output=True, text=True)
  where = call("-c", "import sora_jax; print(sora_jax.__file__)").stdout.strip()
  if not where.startswith(f"{tree}{os.sep}"):
    raise SystemExit(f"sora_jax is taken from {where or 'nowhere'}, not {tree}")
  inputs(work)
  results, seconds = {}, {}

  def plain(text):
    text = text.replace(str(work), "WORK").replace(str(tree), "TREE")
    return re.sub(r"\b[\d.]+ s\b", "T s", text)

  def run(chain):
    for name, command in chain.items():
      argv, start = shlex.split(command), time.monotonic()
      done = call("-m", "sora_jax", *argv)
      while renamed := RENAMED.search(done.stderr):  # by its new name then
        argv = [re.sub(rf"^{renamed[1]}(?==|$)", renamed[2], a) for a in argv]
        done = call("-m", "sora_jax", *argv)
      found = {"printed": done.stdout}
      if done.returncode:
        found = {"failed": "failed: " + done.stderr.strip()[-300:]}
      out = dict(a.split("=", 1) for a in argv if "=" in a)
      out = out.get("--out", out.get("--workdir"))
      if out and not done.returncode:
        try:
          found |= made(argv[0], work / out)
        except Exception as e:  # whatever a file of another format raises
          traceback.print_exc()
          found["failed"] = f"not read: {type(e).__name__}: {e}"
      results[name] = {k: plain(v) if isinstance(v, str) else v
                       for k, v in found.items()}
      seconds[name] = round(time.monotonic() - start, 1)
      print(f"{name}: {len(found)} results, {seconds[name]} s", *(
          [found["failed"]] if "failed" in found else []), flush=True)

  with futures.ThreadPoolExecutor() as pool:
    list(pool.map(run, CHAINS))
  return {name: results[name] for chain in CHAINS for name in chain}, seconds


def digest(value) -> str:
  """sha256 of an array with its dtype and shape, or of a plain value."""
  data = (f"{value.dtype.str} {value.shape}".encode() + value.tobytes()
          if isinstance(value, np.ndarray) else json.dumps(value).encode())
  return hashlib.sha256(data).hexdigest()


def save(out: pathlib.Path, results: dict, seconds: dict) -> None:
  """Writes FILE.json and, of the arrays, FILE.npz."""
  arrays, told = {}, {}
  for group, found in results.items():
    told[group] = {}
    for name, value in sorted(found.items()):
      told[group][name] = entry = {"digest": digest(value)}
      if isinstance(value, np.ndarray):
        arrays[f"{group}:{name}"] = value
        entry |= {"dtype": str(value.dtype), "shape": list(value.shape)}
      else:
        entry["value"] = value
  np.savez_compressed(out.with_suffix(".npz"), **arrays)
  out.write_text(json.dumps({"seconds": seconds, "results": told}, indent=1)
                 + "\n", encoding="utf-8")


def rounds(a, b) -> bool:
  """Whether two arrays or plain values are the same but for rounding."""
  if isinstance(a, list) and isinstance(b, list):
    return len(a) == len(b) and all(map(rounds, a, b))
  if isinstance(a, float) and isinstance(b, float):
    return abs(a - b) <= EPS * max(abs(a), abs(b))
  if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
    return type(a) is type(b) and a == b
  if (a.dtype, a.shape) != (b.dtype, b.shape) or a.dtype.kind not in "uf":
    return False
  if a.dtype == np.uint8:
    return apart(a, b)[0] <= 1
  most = np.fmax(np.abs(a), np.abs(b))
  room = np.maximum(np.spacing(most), EPS * min(1, np.nanmax(most, initial=0)))
  return a.dtype.kind == "f" and bool(np.all(
      (np.abs(a - b) <= room) | (a == b) | (np.isnan(a) & np.isnan(b))))


def apart(a, b) -> tuple[float, float]:
  """The largest difference of two arrays, and the share that differs."""
  with np.errstate(invalid="ignore"):
    off = np.abs(a.astype(np.float64) - b.astype(np.float64))
  off = np.where((a == b) | ((a != a) & (b != b)), 0, off)
  return float(np.max(off, initial=0)), float(np.mean(off != 0))


def shown(a, b) -> str:
  """Two things that are not equal, on a line."""
  if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
    if isinstance(a, str) and isinstance(b, str):
      start = max(len(os.path.commonprefix([a, b])) - 20, 0)
      a, b = a[start:], b[start:]
    return " | ".join("absent" if x is None else (
        f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else
        f"{x!r:.100}") for x in (a, b))
  if a.shape != b.shape or a.dtype != b.dtype:
    return f"{a.dtype} {a.shape} | {b.dtype} {b.shape}"
  most, share = apart(a, b)
  return (f"{digest(a)[:8]} | {digest(b)[:8]} at most {most:.3g}"
          f"{' levels' * (a.dtype == np.uint8)}, {share:.3%} of the values")


def pairs(a: dict, b: dict, value_a, value_b):
  """(name in a, name in b, how they compare) of the results of a command.

  Args:
    a: {name: {"digest": ..}}.
    b: the same of the other tree.
    value_a: name -> array or plain value.
    value_b: the same of the other tree.
  """
  left, right = dict(a), dict(b)

  def take(x, y, how):
    left.pop(x, None)
    right.pop(y, None)
    return x, y, how

  for name in [n for n in a if n in b and a[n]["digest"] == b[n]["digest"]]:
    yield take(name, name, "equal")
  # A new name, or new numbers in the paths of arrays; a value such as 2 is
  # found only where its name is gone.
  free = lambda name, own, other: "shape" in own[name] or name not in other
  for x in list(left):
    y = next((y for y in right if right[y]["digest"] == left[x]["digest"]
              and free(x, a, b) and free(y, b, a)), None)
    if y is not None:
      yield take(x, y, "renamed")
  for name in [n for n in left if n in right]:
    near = rounds(value_a(name), value_b(name))
    yield take(name, name, "rounding" if near else "differs")
  for x in list(left):
    y = next((y for y in right if "shape" in left[x] and left[x]["shape"]
              == right[y].get("shape")
              and rounds(value_a(x), value_b(y))), None)
    yield take(x, y, "differs" if y is None else "rounding")
  for y in list(right):
    yield take(None, y, "differs")


def compare(first: pathlib.Path, second: pathlib.Path) -> int:
  """Prints every difference of two recordings; 1 if there is one."""
  told = [json.loads(p.read_text())["results"] for p in (first, second)]
  arrays = [dict(np.load(p.with_suffix(".npz"))) for p in (first, second)]
  count = dict.fromkeys(("equal", "rounding", "differs"), 0)
  for group in dict.fromkeys([*told[0], *told[1]]):
    ours = [t.get(group, {}) for t in told]
    value = [lambda name, t=t, z=z, group=group: None if name is None else (
        t[name]["value"] if "value" in t[name] else z[f"{group}:{name}"])
             for t, z in zip(ours, arrays)]
    for x, y, how in pairs(*ours, *value):
      count["equal" if how == "renamed" else how] += 1
      name = f"{group}:{x or y}" + f" -> {y}" * bool(x and y and x != y)
      if how != "equal":
        print(f"{how} {name}" + ("" if how == "renamed" else ": " + shown(
            value[0](x), value[1](y))))
  print(f"{count['equal']} equal, {count['rounding']} within rounding, "
        f"{count['differs']} differ")
  return int(count["differs"] > 0)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--tree", type=pathlib.Path,
                      default=pathlib.Path(__file__).absolute().parents[2],
                      help="by default the checkout of this file")
  parser.add_argument("--out", type=pathlib.Path)
  parser.add_argument("--work", type=pathlib.Path, help="an empty folder that "
                      "keeps what is made")
  parser.add_argument("--compare", type=pathlib.Path, nargs=2)
  flags = parser.parse_args()
  if flags.compare:
    sys.exit(compare(*flags.compare))
  if not flags.out:
    parser.error("--out=FILE.json or --compare A.json B.json is needed")
  start = time.monotonic()
  with tempfile.TemporaryDirectory() as folder:
    work = (flags.work or pathlib.Path(folder)).absolute()
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()):
      parser.error(f"--work={work} must be empty")
    results, seconds = record(flags.tree.resolve(), work.resolve())
    save(flags.out, results, seconds)
  bad = [name for name, found in results.items() if "failed" in found]
  print(f"{flags.out}: {sum(map(len, results.values()))} results of "
        f"{len(results)} commands, {time.monotonic() - start:.0f} s"
        + f"; failed: {', '.join(bad)}" * bool(bad))


if __name__ == "__main__":
  main()
