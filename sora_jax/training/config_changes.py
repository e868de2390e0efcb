"""What may differ between the config of a run and that of its checkpoints."""

import os

# Config keys (and everything below them) that a later run may change.
FREE = ("steps", "optimizer.steps", "loop", "preview", "workdir", "versions",
        "revision")


def refuse(saved: dict, config: dict, free: tuple[str, ...] = FREE,
           folder: str | os.PathLike = "") -> None:
  """Raises ValueError with the difference if a checkpoint is of another run."""
  old, new = _flat(saved), _flat(config)
  allowed = lambda k: any(k == f or k.startswith(f + ".") for f in free)
  lines = [f"{k}: {old.get(k, 'absent')} -> {new.get(k, 'absent')}"
           for k in sorted(old.keys() | new.keys())
           if not allowed(k) and (k in old, old.get(k)) != (
               k in new, new.get(k))]
  if [line.split(":")[0] for line in lines] == ["plan"]:
    raise ValueError(
        f"the data changed since the checkpoints in {folder} were made: the same "
        f"config makes other batches of it (digest {str(old['plan'])[:12]} then, "
        f"{str(new['plan'])[:12]} now); give the data as it was, or another "
        "workdir")
  if lines:
    raise ValueError(
        f"the checkpoints in {folder} are of another config ("
        + "; ".join(lines) + "): give another workdir, or the config they "
        "were made with")


def _flat(config, prefix="") -> dict:
  if isinstance(config, dict) and config:
    return {k: v for name, value in config.items()
            for k, v in _flat(value, f"{prefix}{name}.").items()}
  return {prefix.rstrip("."): config}
