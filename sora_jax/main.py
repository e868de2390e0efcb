"""`sora-jax VERB`: finds the verb and turns a mistake into one clear line.

Exit codes: 0 success, 1 failure (a file, a disk, a run that had to stop), 2
usage (a flag, a value or an input that cannot be right), 130 interrupted. Set
SORA_JAX_TRACEBACK=1 to see where an error came from.
"""

import difflib
import glob
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import pathlib
import platform
import sys

from absl import flags

from sora_jax.cli import errors
from sora_jax.cli import options

GOOGLE = "0x1ae0"  # the vendor of TPUs on the PCI bus
VERBS = {
    "prepare": "turn a source of captioned clips into shards",
    "plan-data": "what a config makes of a data set, before training",
    "plan": "what a config needs on a TPU slice, without one",
    "train": "train the VAE or the diffusion transformer",
    "encode": "cache the latents of a prepared data set",
    "caption": "tell what videos show, or caption a data set anew",
    "export": "write the EMA weights of a run as a model folder",
    "generate": "make a video or an image from a prompt",
    "animate": "make a video of an image",
    "extend": "go on with a video, forward or backward",
    "loop": "make a loop without a seam, of a video or a prompt",
    "connect": "make a gradual transition between two videos",
    "edit": "change the style or setting of a video",
    "inpaint": "draw a region of a video anew",
    "upscale": "draw a small video at a larger size",
    "evaluate": "score a model against the truth",
}


def usage() -> str:
  """The help text of the program."""
  width = max(map(len, VERBS))
  lines = [f"  {verb:{width}} {what}" for verb, what in VERBS.items()]
  return ("usage: sora-jax VERB [FLAGS]\n\n" + "\n".join(lines) +
          "\n\n`sora-jax VERB --help` lists the flags of a verb, `sora-jax "
          "--version` tells the version.")


def version() -> str:
  """What a report of a bug should say."""
  package = importlib.import_module(__name__.partition(".")[0])
  return (f"sora_jax {package.__version__}, jax "
          f"{importlib.metadata.version('jax')}, Python "
          f"{platform.python_version()}")


def without_tpu() -> dict[str, str]:
  """What keeps libtpu quiet where it is installed and there is no TPU.

  Without these it asks who its host is, and prints three lines of errors. They
  are not for a machine with a chip, nor for one that names a TPU in TPU_..
  """
  chip = glob.glob("/dev/accel*") + glob.glob("/dev/vfio/*") + [
      path for path in glob.glob("/sys/bus/pci/devices/*/vendor")
      if pathlib.Path(path).read_text(encoding="ascii").strip() == GOOGLE]
  named = {name for name in os.environ if name.startswith("TPU_")}
  # jax and libtpu set these themselves, on every machine.
  named -= {"TPU_SKIP_MDS_QUERY", "TPU_LIBRARY_PATH"}
  if chip or named or (
      importlib.util.find_spec("libtpu") is None):
    return {}
  return {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost",
          "TPU_ACCELERATOR_TYPE": "v5p-8"}


def main(argv: list[str]) -> int:
  """Runs one verb: argv is the command line without the program's name."""
  if argv[:1] == ["--version"]:
    print(version())
    return 0
  if not argv or argv[0] in ("-h", "--help", "help"):
    print(usage())
    return 0 if argv else 2
  # Programs compiled once serve every later call.
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(
      os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")),
      "sora_jax"))
  for name, value in without_tpu().items():
    os.environ.setdefault(name, value)
  verb = argv[0]
  if verb not in VERBS:
    near = difflib.get_close_matches(verb, VERBS, 1)
    hint = f", did you mean {near[0]}?" if near else ""
    print(f"sora-jax: there is no verb '{verb}'{hint} (verbs: "
          f"{', '.join(VERBS)})", file=sys.stderr)
    return 2
  name = f"sora_jax.cli.{verb.replace('-', '_')}"
  for arg in argv:
    if any(0xd800 <= ord(c) <= 0xdfff for c in arg):
      print(f"sora-jax {verb}: {arg!a} is not UTF-8", file=sys.stderr)
      return 2
  try:
    options.refuse_addresses(argv[1:])
    return importlib.import_module(name).run(argv) or 0
  except options.Help as listed:
    print(f"{inspect.getdoc(sys.modules[name])}\n\nflags:\n{listed}")
    return 0
  except (KeyboardInterrupt, flags.Error, ValueError, OSError, RuntimeError,
          ArithmeticError, MemoryError) as error:
    if os.environ.get("SORA_JAX_TRACEBACK") and isinstance(error, Exception):
      raise
    return errors.report(verb, error)


def run() -> None:
  """The entry point of the command `sora-jax`."""
  code = main(sys.argv[1:])
  stopping = sys.modules.get("sora_jax.training.stopping")
  if stopping and stopping.compiles():
    # A run that has stopped does not wait for a program that nobody will call.
    multihost = sys.modules["sora_jax.mesh.multihost"]
    multihost.leave()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  sys.exit(code)


if __name__ == "__main__":
  run()
