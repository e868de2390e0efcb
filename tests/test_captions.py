"""Captions, tables and names as people write them: read, or named in a reject."""

from concurrent import futures
import errno
import json
import os
import subprocess
import sys
import unicodedata

import pytest
import test_bad_inputs

import bad_files
from sora_jax import files
from sora_jax import main
from sora_jax.cli import generate
from sora_jax.data.prepare import filters
from sora_jax.data.prepare import prepare
from sora_jax.data.prepare import scan
from sora_jax.data.prepare import shots
from sora_jax.data.sources import folders
from sora_jax.data.sources import tars
from sora_jax.data.sources import world

OPTIONS = world.WorldOptions()
FOLLOW = world.WorldOptions(follow_links=True)


def found(root, options=OPTIONS):
  """({key: captions}, {key: reason}) of the items of a folder."""
  source = folders.read_folder(str(root), options)
  kept, reasons = {}, {}
  for i in range(len(source)):
    try:
      raw = source[i]
    except folders.stations.Reject as e:
      reasons[e.key] = str(e)
    else:
      kept[raw.key] = raw.captions
  return kept, reasons


def videos(root, *names):
  root.mkdir(exist_ok=True)
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
  return root


TEXT = "ein Käfig, 一只猫 é\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_captions_are_decoded_by_their_mark(tmp_path, encoding):
  root = videos(tmp_path / "in", "a.mp4", "b.mp4", "c.mp4", "d.mp4")
  (root / "a.txt").write_text(TEXT, encoding)
  (root / "b.json").write_text(json.dumps({"caption": TEXT}), encoding)
  (root / "t.csv").write_text(f'file,caption\nc.mp4,"{TEXT}"\n', encoding)
  (root / "t.jsonl").write_text(json.dumps(
      {"file": "d.mp4", "caption": TEXT}, ensure_ascii=False), encoding)
  kept, reasons = found(root)
  assert not reasons and set(kept.values()) == {(TEXT.strip(),)}
  (tmp_path / "x.tar").write_bytes(bad_files.tar([
      ("a.mp4", b"x"), ("a.txt", TEXT.encode(encoding))]))
  assert tars.read_tars(str(tmp_path / "x.tar"), OPTIONS)[0].captions == (
      TEXT.strip(),)


@pytest.mark.parametrize("encoding, text", [
    ("cp1252", "ein Käfig – grün"), ("gbk", "一只猫在跳舞"), ("latin-1", "café"),
    ("utf-16-le", "a red ball"), ("utf-16-be", "un café"),
    ("shift-jis", "猫が踊る")])
def test_other_encodings_are_rejected_by_name(tmp_path, encoding, text):
  root = videos(tmp_path / "in", "a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4")
  (root / "a.txt").write_bytes(text.encode(encoding))
  (root / "b.json").write_bytes(f'{{"caption": "{text}"}}'.encode(encoding))
  if not encoding.startswith("utf-16"):  # rows in lines
    (root / "t.csv").write_bytes(b"file,caption\n" + f"c.mp4,{text}\n".encode(
        encoding) + b"e.mp4,good\n")
    (root / "t.jsonl").write_bytes(
        f'{{"file": "d.mp4", "caption": "{text}"}}\n'.encode(encoding))
  kept, reasons = found(root)
  assert "UTF-8" in reasons["a.mp4"] and "UTF-8" in reasons["b.mp4"]
  assert "\ufffd" not in str(kept)
  if not encoding.startswith("utf-16"):
    assert "UTF-8" in reasons["t.csv:2"] and "UTF-8" in reasons["t.jsonl:1"]
    assert kept["e.mp4"] == ("good",)
  (tmp_path / "x.tar").write_bytes(bad_files.tar([
      ("a.mp4", b"x"), ("a.txt", text.encode(encoding))]))
  with pytest.raises(folders.stations.Reject, match="UTF-8"):
    _ = tars.read_tars(str(tmp_path / "x.tar"), OPTIONS)[0]


def test_tfds_captions_of_other_encodings_are_rejected():
  from sora_jax.data.sources import tfds
  source = tfds.Tfds((("train", [{"video": b"x", "text": "é".encode("cp1252")},
                                 {"video": b"x", "text": "é".encode()}]),),
                     "video", "text", (), 8.0, "")
  with pytest.raises(tfds.stations.Reject, match="UTF-8"):
    _ = source[0]
  assert source[1].captions == ("é",)


@pytest.mark.parametrize("row, word", [
    ("a.mp4,a red ball, that rolls", "3 fields where the header has 2"),
    ("a.mp4,one,two,three", "4 fields"),
    ('a.mp4,"closed", open', "3 fields")])
def test_a_csv_row_of_more_fields_is_rejected(tmp_path, row, word):
  root = videos(tmp_path / "in", "a.mp4", "b.mp4")
  (root / "t.csv").write_text(f'file,caption\n{row}\nb.mp4,"red, round",,\n')
  kept, reasons = found(root)
  assert word in reasons["t.csv:2"] and not kept["a.mp4"]
  assert kept["b.mp4"] == ("red, round",)  # empty fields say nothing


@pytest.mark.parametrize("head, mark", [
    ("file,caption", ","), (" File , Caption ", ","), ("FILE;CAPTION", ";"),
    ("File Name\tcaption", "\t"), ("caption|video", "|"),
    ("\ufefffile,caption", ","), ("id;Path;Caption", ";")])
def test_headers_and_delimiters_of_a_csv(tmp_path, head, mark):
  root = videos(tmp_path / "in", "a.mp4")
  values = {"file": "a.mp4", "file name": "a.mp4", "video": "a.mp4",
            "path": "a.mp4", "id": "7", "caption": '"red, round; a|b"'}
  row = mark.join(values[n.strip("\ufeff ").lower()] for n in head.split(mark))
  (root / "t.csv").write_text(f"{head}\n{row}\n")
  kept, reasons = found(root)
  assert not reasons and kept == {"a.mp4": ("red, round; a|b",)}


def test_a_header_that_names_a_column_twice_is_rejected(tmp_path):
  root = videos(tmp_path / "in", "a.mp4")
  (root / "t.csv").write_text("file,caption,Caption\na.mp4,one,two\n")
  assert "caption twice" in found(root)[1]["t.csv:2"]


@pytest.mark.parametrize("name", ["sub\\a.mp4", ".\\sub\\a.mp4", "./sub/a.mp4",
                                  " sub/a.mp4 ", "sub//a.mp4"])
def test_paths_that_can_only_mean_one_file_find_it(tmp_path, name):
  root = videos(tmp_path / "in", "sub/a.mp4")
  (root / "t.jsonl").write_text(json.dumps({"File": name, "Caption": "red"}))
  assert found(root) == ({"sub/a.mp4": ("red",)}, {})


@pytest.mark.parametrize("stored, written", [
    ("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_composed_and_decomposed_names_are_the_same(tmp_path, stored, written):
  name = "café ñ 한.mp4"
  root = videos(tmp_path / "in", unicodedata.normalize(stored, name))
  (root / "t.csv").write_text(
      f"file,caption\n{unicodedata.normalize(written, name)},red\n")
  kept, reasons = found(root)
  assert not reasons and list(kept.values()) == [("red",)]
  videos(root, unicodedata.normalize("NFC", "café2.mp4"),
         unicodedata.normalize("NFD", "café2.mp4"))
  mixed = unicodedata.normalize("NFD", "é") + unicodedata.normalize("NFC", "é")
  videos(root, *(unicodedata.normalize(f, mixed) + ".mp4"
                 for f in ("NFC", "NFD")))
  (root / "t.csv").write_text(f"file,caption\n{mixed}.mp4,red\n")
  assert "composed" in found(root)[1]["t.csv:2"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_sidecars_of_composed_and_capital_names_are_found(tmp_path, form):
  other = {"NFC": "NFD", "NFD": "NFC"}[form]
  video = unicodedata.normalize(form, "café.MP4")
  beside = unicodedata.normalize(other, "café.txt")
  root = videos(tmp_path / "in", video, "b.mp4")
  (root / beside).write_text("red")
  (root / "b.TXT").write_text("blue")
  kept, reasons = found(root)
  assert not reasons and kept == {video: ("red",), "b.mp4": ("blue",)}
  (tmp_path / "x.tar").write_bytes(bad_files.tar([
      (video, b"x"), (beside, b"red"), ("1.0.mp4", b"x"), ("1.0.TXT", b"y")]))
  source = tars.read_tars(str(tmp_path / "x.tar"), OPTIONS)
  assert [source[i].captions for i in range(len(source))] == [("red",), ("y",)]


def test_a_table_may_name_absolute_paths(tmp_path, monkeypatch):
  root = videos(tmp_path / "in", "a.mp4", "b.mp4")
  os.symlink(root, tmp_path / "link")
  monkeypatch.chdir(tmp_path)
  (root / "t.csv").write_text(
      f"file,caption\n{root}/a.mp4,red\n{tmp_path}/link/b.mp4,blue\n"
      "/etc/passwd,x\n")
  for name in ("in", str(root), "link", "./in/"):
    kept, reasons = found(name)
    assert kept == {"a.mp4": ("red",), "b.mp4": ("blue",)}
    assert reasons == {"t.csv:4": "names a file outside the folder"}


@pytest.mark.parametrize("members, pairs", [
    (("1.0.mp4", "1.5.mp4", "1.0.txt", "1.5.txt"), {"1.0", "1.5"}),
    (("a.v1.mp4", "a.v2.mp4", "a.v2.txt"), {"a.v2"}),
    (("x.0.5.mp4", "x.0.7.txt", "x.0.7.png"), {"x.0.7"}),
    (("a.mp4", "a.caption.txt", "b.mp4", "b.txt"), {"a", "b"}),
    (("a.video.mp4", "a.caption.txt", "b.video.mp4", "b.caption.txt"),
     {"a", "b"})])
def test_members_of_a_tar_pair_by_their_own_names(tmp_path, members, pairs):
  path = tmp_path / "x.tar"
  path.write_bytes(bad_files.tar([(n, n.encode()) for n in members]))
  source, kept = tars.read_tars(str(path), OPTIONS), {}
  for i in range(len(source)):
    try:
      raw = source[i]
    except tars.stations.Reject:
      continue
    if raw.captions:
      kept[raw.key.removeprefix("x.tar/")] = raw
  assert set(kept) == pairs
  for raw in kept.values():
    stem = lambda text: text.rpartition(".")[0].removesuffix(
        ".caption").removesuffix(".video")
    assert stem(raw.file.decode()) == stem(raw.captions[0])


def test_links_inside_are_read_and_others_counted(tmp_path):
  videos(tmp_path / "other", "o.mp4", "deep/p.mp4")
  for name in ("o", "deep/p", "q"):
    (tmp_path / "other" / f"{name}.txt").write_text("out")
  root = videos(tmp_path / "in", "real/a.mp4", "q.mp4", "z.mp4")
  (root / "real" / "a.txt").write_text("in")
  (root / "z.txt").write_text("z")
  os.symlink("real", root / "linked")
  os.symlink(root, root / "real" / "up")
  os.symlink(tmp_path / "other", root / "away")
  os.symlink(root / "real" / "a.mp4", root / "b.mp4")
  (root / "b.txt").write_text("b")
  os.symlink(tmp_path / "other" / "o.mp4", root / "o.mp4")
  os.symlink(tmp_path / "other" / "q.txt", root / "q.txt")
  os.symlink("/dev/zero", root / "t.csv")
  kept, reasons = found(root)
  assert set(kept) == {"b.mp4", "linked/a.mp4", "real/a.mp4", "z.mp4"}
  assert {k for k, why in reasons.items() if why.startswith("link")} == {
      "away", "o.mp4", "q.mp4", "t.csv", "real/up", "linked/up"}
  kept, reasons = found(root, FOLLOW)
  assert {"away/o.mp4", "away/deep/p.mp4", "o.mp4", "q.mp4"} < set(kept)
  assert kept["q.mp4"] == ("out",)
  assert {k: why for k, why in reasons.items() if "link" not in why} == {
      "t.csv:0": "is no regular file"}


def test_folders_that_link_to_each_other_end(tmp_path):
  root = videos(tmp_path / "in", "x/a.mp4", "y/b.mp4")
  for a, b in (("x", "y"), ("y", "x")):
    for i in range(4):
      os.symlink(root / b, root / a / f"to{i}")
  kept, reasons = found(root)
  assert {"x/a.mp4", "y/b.mp4"} <= set(kept) and len(kept) < 10
  assert all(why.startswith("link") for why in reasons.values())


def in_seconds(call, seconds=20):
  """The result of a call that must not hang."""
  pool = futures.ThreadPoolExecutor(1)
  try:
    return pool.submit(call).result(seconds)
  finally:
    pool.shutdown(wait=False)


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "a.txt", "a.json"])
def test_pipes_hang_no_source(tmp_path, name):
  root = videos(tmp_path / "in", "a.mp4", "b.mp4")
  (root / "b.txt").write_text("b")
  os.mkfifo(root / name)
  kept, reasons = in_seconds(lambda: found(root))
  assert kept["b.mp4"] == ("b",)
  assert any("regular file" in why for why in reasons.values())
  os.mkfifo(tmp_path / "x.tar")
  source = in_seconds(lambda: tars.read_tars(f"{tmp_path}/x.tar", OPTIONS))
  assert "regular" in source.samples[0].reason
  with pytest.raises(ValueError, match="regular"):
    in_seconds(lambda: generate.open_text(str(root / name)))


def test_long_lines_take_no_memory(tmp_path):
  root = videos(tmp_path / "in", "a.mp4")
  with open(root / "t.csv", "wb") as f:
    f.write(b"file,caption\n")
    f.truncate(2 ** 28)  # a line of 256 MiB that takes no disk
    f.seek(0, 2)
    f.write(b"\na.mp4,red\n")
  code = ("import re, pathlib, sys\n"
          "from sora_jax.data.sources import tables\n"
          f"print(list(tables.rows({str(root / 't.csv')!r})))\n"
          "text = pathlib.Path('/proc/self/status').read_text()\n"
          "print(int(re.search(r'VmHWM:\\s+(\\d+)', text)[1]) >> 10)\n")
  done = subprocess.run([sys.executable, "-c", code], capture_output=True,
                        text=True, timeout=120)
  rows, megabytes = done.stdout.strip().split("\n")
  assert "more than 1048576" in rows and "'caption': 'red'" in rows
  assert int(megabytes) < 200


def test_prompts_take_a_mark_and_line_separators(tmp_path):
  path = tmp_path / "p.jsonl"
  lines = ['{"prompt": "a\u2028b\x85c"}', '{"prompt": "d"}']
  for encoding in ("utf-8-sig", "utf-16", "utf-8"):
    path.write_text("\n".join(lines), encoding)
    assert generate.open_text(str(path)) == lines
  path.write_bytes("\r\n".join(lines).encode())
  assert generate.open_text(str(path)) == lines
  path.write_bytes("é".encode("cp1252"))
  with pytest.raises(ValueError, match="p.jsonl is no UTF-8"):
    generate.open_text(str(path))


DEEP = ["[" * 30_000, '{"a":' * 30_000, "[" * 100 + "]" * 100]


@pytest.mark.parametrize("text", DEEP)
def test_json_of_strangers_is_bounded(tmp_path, text):
  with pytest.raises(ValueError, match="deep"):
    files.parse_json(text)
  with pytest.raises(ValueError, match="x.json is JSON nested"):
    (tmp_path / "x.json").write_text(text)
    files.read_json(tmp_path / "x.json")
  with pytest.raises(ValueError, match="line 3: is JSON nested"):
    generate.parse_line(text, "line 3")
  assert files.parse_json('"' + "[" * 999 + '"') == "[" * 999
  assert files.parse_json('["' + '\\"[' * 99 + '"]') == ['"[' * 99]


@pytest.mark.parametrize("ending", [".gif", ".webp", ".jpg"])
def test_a_comment_of_brackets_ends_no_prepare(tmp_path, ending):
  import io

  import PIL.Image

  from sora_jax.media import images
  from sora_jax.media import video_io
  exif = PIL.Image.Exif()
  exif[images.DESCRIPTION] = DEEP[0]
  buffer = io.BytesIO()
  PIL.Image.new("RGB", (32, 32), (90, 20, 20)).save(
      buffer, {".gif": "GIF", ".webp": "WEBP", ".jpg": "JPEG"}[ending],
      **({"comment": DEEP[0].encode()} if ending != ".webp" else {
          "exif": exif.tobytes()}))
  assert video_io.read(buffer.getvalue())[0].shape == (1, 32, 32, 3)
  assert video_io.metadata(buffer.getvalue()) == {}
  root = tmp_path / "in"
  root.mkdir()
  (root / f"a{ending}").write_bytes(buffer.getvalue())
  (root / "a.txt").write_text("brackets")
  info = prepare.prepare(f"folder:{root}", tmp_path / "out", test_share=0,
                         workers=0, quiet=True)
  assert info["clips"] == {"train": 1}


def folder(root, captions):
  """A folder of small images with these captions."""
  root.mkdir()
  for i, text in enumerate(captions):
    (root / f"{i}.png").write_bytes(bad_files.picture("RGB", (60 + i, 90, 30)))
    (root / f"{i}.txt").write_text(text)
  return f"folder:{root}"


def test_cuts_without_its_extra_are_refused_before_any_file(
    tmp_path, monkeypatch, capsys):
  source = folder(tmp_path / "in", ["one", "two"])
  for more in ([], ["--dry-run"]):
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    assert main.main(["prepare", source, f"--out={tmp_path}/out", "--cuts",
                      "--workers=0", *more]) == 2
    assert "pip install" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
  monkeypatch.undo()
  pytest.importorskip("scenedetect")
  shots.require()
  assert main.main(["prepare", source, f"--out={tmp_path}/out", "--cuts",
                    "--workers=0"]) == 0


@pytest.mark.parametrize("number, again", [
    (errno.EACCES, True), (errno.EIO, True), (errno.EMFILE, False),
    (errno.ENOMEM, False), (None, False)])
def test_an_error_of_the_machine_is_no_property_of_a_file(
    tmp_path, monkeypatch, number, again):
  source = folder(tmp_path / "in", ["one", "two", "three"])
  run = lambda **k: prepare.prepare(source, tmp_path / "out", test_share=0,
                                    workers=0, quiet=True, **k)
  true = scan.digest_of

  def fails(file):
    if file.endswith("1.png"):
      if number is None:
        raise ImportError("libfoo.so is missing")
      raise OSError(number, os.strerror(number))
    return true(file)

  monkeypatch.setattr(scan, "digest_of", fails)
  if again:  # the others go on, and the next run looks at it again
    assert run(dry_run=True)["rejected"] == 1
  else:
    with pytest.raises((OSError, ImportError)):
      run(dry_run=True)
  monkeypatch.undo()
  info = run()
  assert info["rejected"] == 0 and info["clips"] == {"train": 3}


@pytest.mark.parametrize("text", [
    "Error 429: Too Many Requests", "I'm sorry, I can't describe this image.",
    "A high quality video."])
def test_repeated_captions_are_named_and_rejected(tmp_path, text):
  source = folder(tmp_path / "in", [text, "a ball", text, "a cube", text])
  info = prepare.prepare(source, tmp_path / "out", test_share=0, workers=0,
                         quiet=True)
  assert info["repeated"] == {"share": 0.6, "captions": [[text, 3]]}
  page = (tmp_path / "out" / "report.html").read_text()
  assert "60 % of the files" in page and "several files share" in page
  info = prepare.prepare(source, tmp_path / "few", test_share=0, workers=0,
                         quiet=True, rules=filters.Rules(max_repeats=2))
  assert info["clips"] == {"train": 2} and "repeated" not in info
  assert set(test_bad_inputs.rejects_of(tmp_path / "few").values()) == {
      "its caption is that of 3 files; the most is 2"}
  assert main.main(["prepare", source, f"--out={tmp_path}/all",
                    "--max_repeats=3", "--workers=0", "--test_share=0"]) == 0


def test_a_set_of_an_older_version_keeps_its_description():
  job = prepare.job_lib.Job("folder:x", OPTIONS, 0, 0, 9, 99, filters.Rules(),
                            False, 0.0)
  told = job.describe(False)
  assert "follow_links" not in told["options"]
  assert "max_repeats" not in told["rules"]
