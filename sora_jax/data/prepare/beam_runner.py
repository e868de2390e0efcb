"""Runs tasks on Apache Beam (the extra `beam`).

The unit of work is the same as without Beam: a part of the scan, or a shard.
Each is written whole or not at all, so that Beam may run a task twice. All
workers must see the source and the output under the same paths, on a file system
that they share; Beam only decides who does what.
"""

from collections.abc import Callable
from typing import Any

from sora_jax import extras


def require() -> None:
  """Raises ValueError where the extra is not installed."""
  try:
    import apache_beam  # noqa: F401
  except ImportError as e:
    raise ValueError(f"--beam needs a package: {extras.install('beam')}") from e


def run(call: Callable[[Any], int], tasks: list, flags: tuple[str, ...]) -> None:
  """Calls `call(task)` for every task and waits for the end.

  Args:
    call: picklable.
    tasks: picklable.
    flags: of Beam, such as --runner=DirectRunner --direct_num_workers=4
      --direct_running_mode=multi_processing.

  Raises:
    ValueError: the extra is not installed.
    RuntimeError: the pipeline failed.
  """
  require()
  import apache_beam as beam
  from apache_beam.options import pipeline_options
  if not tasks:
    return
  options = pipeline_options.PipelineOptions(list(flags))
  with beam.Pipeline(options=options) as pipeline:
    _ = (pipeline | beam.Create(tasks) | beam.Reshuffle() | beam.Map(call))
