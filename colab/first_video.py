# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # sora_jax: a first video
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# The badge opens Colab's list of notebooks on GitHub: paste the address of the
# repository there, and choose `colab/first_video.ipynb`.
#
# A prompt becomes a video; an image or a clip of yours is animated, extended,
# looped and edited. The model `tiny` has 9.6 million parameters and knows simple
# simulated worlds: coloured balls, squares and triangles that move. Run all
# cells. The CPU runtime is enough, and a video takes half a minute; GPU and TPU
# runtimes have not been tried.

# %%
# @title 1. The device of this runtime { display-mode: "form" }
import importlib.util

if importlib.util.find_spec("jax"):
  import jax

  print(f"jax {jax.__version__} on {jax.device_count()} x "
        f"{jax.devices()[0].device_kind}")
else:
  print("There is no jax here; the next cell installs it.")

# %%
# @title 2. Install { display-mode: "form" }
# @markdown The address of a repository (`https://github.com/OWNER/NAME`), or
# @markdown the address or path of a wheel. Leave it empty to upload a wheel,
# @markdown which `pip wheel --no-deps .` makes in a checkout.
source = ""  # @param {type:"string"}

import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tempfile


def upload():
  """The names of files that are chosen in a dialogue of Colab."""
  try:
    from google.colab import files
  except ImportError:
    raise RuntimeError("only Colab uploads files: give a path or an address "
                       "in the form") from None
  return list(files.upload())


def install(target):
  """Installs a package, and leaves the jax and numpy that are here alone."""
  if target.startswith("https://") and not target.endswith(".whl"):
    target = f"git+{target}"
  here = {d.name: d.version for d in importlib.metadata.distributions()}
  kept = sorted(f"{name}=={version}" for name, version in here.items()
                if re.match(r"(jax|libtpu|numpy)", name))
  with tempfile.TemporaryDirectory() as folder:
    constraints = pathlib.Path(folder, "constraints.txt")
    constraints.write_text("\n".join(kept))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "-c", str(constraints),
         target], capture_output=True, text=True, check=False)
  if done.returncode:
    raise RuntimeError(
        f"{done.stderr.strip()[-1500:]}\nIf {', '.join(kept)} are too old for "
        "it, a newer runtime has newer ones, and so has `%pip install -U jax` "
        "on a CPU runtime, followed by a restart.")


if not importlib.util.find_spec("sora_jax"):
  install(source or upload()[0])
  importlib.invalidate_caches()
print("sora_jax", importlib.metadata.version("sora_jax"), "with jax",
      importlib.metadata.version("jax"))

# %%
# @title 3. Load the model
import sora_jax

model = sora_jax.load("tiny")
model

# %%
# @title 4. A prompt becomes a video
prompt = "a large red ball moves to the right on a plain black background"  # @param {type:"string"}
width = 64  # @param {type:"slider", min:32, max:128, step:8}
height = 64  # @param {type:"slider", min:32, max:128, step:8}
frames = 17  # @param {type:"slider", min:1, max:49, step:4}
seed = 3  # @param {type:"integer"}

video = model.generate(prompt, size=(width, height), frames=frames, seed=seed)
video

# %%
# @title 5. Your own image or clip
# @markdown Tick `own` to upload a file; without it the video above goes on.
own = False  # @param {type:"boolean"}

clip = sora_jax.load_video(upload()[0]) if own else video
clip

# %% [markdown]
# The cells below draw what you gave at the size of cell 4. `tiny` has seen nothing
# but its simulated worlds, so what it adds to a photograph looks like them.

# %%
# @title 6. Animate the first frame
prompt_animate = "a large red ball moves to the right on a plain black background"  # @param {type:"string"}

animated = model.animate(clip[0], prompt_animate, frames=17,
                         size=(width, height))
animated

# %%
# @title 7. Extend
direction = "backward"  # @param ["forward", "backward", "both"]
prompt_extend = "a large red ball moves to the right on a plain black background"  # @param {type:"string"}

extended = model.extend(clip, prompt_extend, frames=12, direction=direction,
                        size=(width, height))
extended

# %%
# @title 8. Loop
# @markdown Of the prompt alone, or where you gave a file, from its end back to its
# @markdown beginning. What moves one way has no way back: `tiny` lets another
# @markdown thing appear while it leaves.
prompt_loop = "a large blue square on a plain navy background"  # @param {type:"string"}

looped = model.loop(clip if own else None, prompt_loop, frames=24,
                    size=(width, height))
looped

# %%
# @title 9. Edit
prompt_edit = "a large green ball moves to the right on a plain black background"  # @param {type:"string"}
strength = 0.7  # @param {type:"slider", min:0, max:1, step:0.05}

edited = model.edit(clip, prompt_edit, strength=strength, size=(width, height))
edited

# %%
# @title 10. Keep the videos
# @markdown They are written as mp4, and where you say so downloaded, or copied to
# @markdown a folder of your Drive.
download = False  # @param {type:"boolean"}
drive_folder = ""  # @param {type:"string"}

import shutil

made = {"video": video, "animated": animated, "extended": extended,
        "looped": looped, "edited": edited}
names = [f"{name}.mp4" for name in made]
for name, shown in zip(names, made.values()):
  sora_jax.save_video(name, shown)
if download:
  from google.colab import files

  for name in names:
    files.download(name)
if drive_folder:
  from google.colab import drive

  drive.mount("/content/drive")
  folder = pathlib.Path("/content/drive/MyDrive", drive_folder)
  folder.mkdir(parents=True, exist_ok=True)
  for name in names:
    shutil.copy(name, folder)
print("written:", *names)
