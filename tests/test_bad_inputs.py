"""Bad files end as counted rejects, and good ones beside them are kept."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import pytest

import bad_files
from sora_jax import stations
from sora_jax.data.prepare import filters
from sora_jax.data.prepare import job as job_lib
from sora_jax.data.prepare import prepare
from sora_jax.data.prepare import runners
from sora_jax.data.prepare import scan
from sora_jax.data.prepare import scans
from sora_jax.data.sources import tars
from sora_jax.data.sources import world
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.media import video_io

# The peak is the process's own; ru_maxrss begins with that of its parent.
RUN = """
import json, pathlib, re, sys
from sora_jax.data.prepare import prepare
info = prepare.prepare(sys.argv[1], sys.argv[2], test_share=0, workers=0,
                       quiet=True)
status = pathlib.Path("/proc/self/status").read_text()
print(json.dumps([info["rejected"], info["captions_cut"],
                  int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) >> 10]))
"""


def rejects_of(out):
  lines = (out / "rejects.jsonl").read_text().splitlines()
  return {r["key"]: r["reason"] for r in map(json.loads, lines)}


def kept_by(out):
  manifest = manifest_lib.open_manifest(out)
  found = [records.read(manifest, i) for i in range(len(manifest))]
  return {item.key: item for item in found}


@pytest.mark.slow
def test_a_folder_of_bad_files(tmp_path):
  expected = bad_files.write(tmp_path / "in")
  done = subprocess.run(
      [sys.executable, "-c", RUN, f"folder:{tmp_path}/in", tmp_path / "out"],
      capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr
  rejected, captions_cut, megabytes = json.loads(done.stdout)
  reasons, kept = rejects_of(tmp_path / "out"), kept_by(tmp_path / "out")
  print(f"{len(expected)} inputs, {rejected} rejected, {megabytes} MiB at most")
  assert len(expected) >= 50 and rejected == len(reasons) >= 40
  assert megabytes < 2048 and captions_cut == 1
  assert set(reasons) | set(kept) == set(expected)
  for key, word in expected.items():
    assert (key in kept) == (word is None), (key, reasons.get(key))
    assert word is None or word in reasons[key], (key, reasons[key])
  text = " ".join(reasons.values())
  assert "\n" not in text and str(tmp_path) not in text
  for item in kept.values():
    video, _ = video_io.read(item.data)
    assert video.shape[:3] == (item.frames, item.height, item.width)
  assert (kept["rotated.mp4"].height, kept["rotated.mp4"].width) == (64, 48)
  assert kept["uneven.mp4"].frames == 16  # four frames stand for a gap
  assert kept["wide_pixels.mp4"].width == 2 * kept["wide_pixels.mp4"].height
  assert kept["sideways.jpg"].height == 40
  page = (tmp_path / "out" / "report.html").read_text()
  assert "<script" not in page and "&lt;script&gt;" in page


def test_a_tar_of_bad_members(tmp_path):
  good = bad_files.mp4(1)
  data = bad_files.tar([
      ("a.mp4", good), ("a.txt", b"a red ball\n"),
      ("dir/b.mp4", bad_files.mp4(2)), ("dir/b.json", b'{"caption": "b", "x": NaN}'),
      ("../c.mp4", good), ("../c.txt", b"outside"),
      ("/etc/d.mp4", good), ("link.mp4", tarfile.SYMTYPE),
      ("device.mp4", tarfile.CHRTYPE), ("a.webm", good),
      ("e.txt", b"a caption of nothing"), ("f.mp4", bad_files.mp4(3)),
      ("notes.pdf", b"x"), ("g.mp4", b"no video"), ("g.txt", b"g")])
  (tmp_path / "x-00.tar").write_bytes(data)
  (tmp_path / "x-01.tar").write_bytes(data[:1500])  # cut within a member
  damaged = bytearray(bad_files.tar([("h.mp4", good), ("i.mp4", good)]))
  at = damaged.index(b"i.mp4")
  damaged[at:at + 400] = b"\xff" * 400
  (tmp_path / "x-02.tar").write_bytes(damaged)
  info = prepare.prepare(f"tar:{tmp_path}/x-{{00..09}}.tar", tmp_path / "out",
                         test_share=0, workers=0, quiet=True)
  reasons = rejects_of(tmp_path / "out")
  print(json.dumps(reasons, indent=1))
  assert set(kept_by(tmp_path / "out")) == {"x-00.tar/a", "x-00.tar/dir/b"}
  assert info["ignored"] == {".pdf": 1}
  words = {"x-00.tar/../c.mp4": "outside", "x-00.tar/../c.txt": "outside",
           "x-00.tar//etc/d.mp4": "outside", "x-00.tar/link.mp4": "regular",
           "x-00.tar/device.mp4": "regular", "x-00.tar/a.webm": "second file",
           "x-00.tar/e": "no video", "x-00.tar/f": "no caption",
           "x-00.tar/g": "Invalid", "x-01.tar": "no further",
           "x-02.tar": "no further", "x-02.tar/h": "no caption"}
  assert words.keys() <= reasons.keys()
  assert all(word in reasons[key] for key, word in words.items())
  for pattern, word in ((f"{tmp_path}/none-*.tar", "no such file"),
                        ("pipe:cat x.tar", "no commands"),
                        ("https://host/x.tar", "no commands")):
    with pytest.raises(ValueError, match=word):
      tars.read_tars(pattern, world.WorldOptions())


def test_a_header_of_gigabytes_is_not_read(tmp_path):
  info = tarfile.TarInfo("././@PaxHeader")
  info.type, info.size = tarfile.XHDTYPE, 2 ** 32
  (tmp_path / "x.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT)
                                   + bytes(2 ** 21))
  source = tars.read_tars(str(tmp_path / "x.tar"), world.WorldOptions())
  with pytest.raises(stations.Reject, match="no further"):
    source[0]



def scan_or_die(out, task):
  """A part of the scan, in a process that dies of item 3."""
  import os
  true = scan.scan
  scan.scan = lambda raw, i, *a: os._exit(9) if i == 3 else true(raw, i, *a)
  job = job_lib.Job(f"folder:{out}/../in", world.WorldOptions(), 0, 0, 9, 99,
                    filters.Rules(), False, 0.0)
  return scans._scan_part(out, job, 1, task)


@pytest.mark.slow
def test_a_file_that_kills_its_reader_is_rejected(tmp_path):
  import functools
  (tmp_path / "in").mkdir()
  (tmp_path / "out" / "parts").mkdir(parents=True)
  for i in range(6):
    (tmp_path / "in" / f"{i}.png").write_bytes(
        bad_files.picture("RGB", (40 * i, 90, 90)))
    (tmp_path / "in" / f"{i}.txt").write_text("red")
  done = []
  runners.run(functools.partial(scan_or_die, str(tmp_path / "out")),
              [(0, [0, 1, 2]), (1, [3, 4, 5])], 2, done.append)
  rows = [json.loads(line) for part in (0, 1) for line in (
      tmp_path / "out" / "parts" / f"scan-{part:05d}.jsonl"
      ).read_text().splitlines()]
  assert sum(done) == 6
  assert [r.get("reason") for r in rows] == [
      None, None, None, "kills the process that reads it", None, None]


# Two workers that say who they are and then work for ever.
SLEEPERS = """
import os, time
from sora_jax.data.prepare import runners

def call(task):
  with open(f"{task}.pid", "w") as f:
    f.write(str(os.getpid()))
  time.sleep(600)

if __name__ == "__main__":
  runners.run(call, [0, 1], 2, print)
"""


def test_workers_end_with_their_parent(tmp_path):
  (tmp_path / "run.py").write_text(SLEEPERS)
  files = [tmp_path / "0.pid", tmp_path / "1.pid"]
  parent = subprocess.Popen([sys.executable, "run.py"], cwd=tmp_path,
                            stdout=subprocess.PIPE)
  try:
    end = time.monotonic() + 60
    while not all(f.exists() and f.read_text() for f in files):
      assert parent.poll() is None and time.monotonic() < end
      time.sleep(0.05)
    parent.kill()
    parent.communicate(timeout=20)  # until nobody holds its output open
  except subprocess.TimeoutExpired:
    for file in files:
      os.kill(int(file.read_text()), signal.SIGKILL)
    pytest.fail("a worker outlived its parent")
  finally:
    parent.kill()
