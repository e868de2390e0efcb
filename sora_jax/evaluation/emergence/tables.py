"""The answers of rows become numbers with intervals, and numbers tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sora_jax.evaluation import report
from sora_jax.evaluation import statistics
from sora_jax.worlds import rows as rows_lib

Verdicts = Sequence[Mapping[str, Any]]  # by case, of clips.verdict


def row(asked: rows_lib.Row, of: Mapping[str, Verdicts], way: str
        ) -> dict[str, Any]:
  """One row of results.json.

  Args:
    asked: the row.
    of: way or control -> what was found, by case; has "truth" and "vae".
    way: "text" or "clip".

  Returns:
    value, low, high and n of the model; truth, ceiling and of each control the
    mean; the floor, which is the best control; and `above`, the mean of what the
    model has more than the floor, case by case, with its interval.
  """
  # From a caption alone no false alarm is asked for: hits beside hits.
  kind = "hits" if way == "text" else "values"
  values = {name: [v[kind].get(asked.name) for v in some]
            for name, some in of.items()}
  floors = {c: _mean(values[c]) for c in asked.controls}
  known = {c: m for c, m in floors.items() if m is not None}
  floor = max(known, key=lambda c: known[c]) if known else None
  own = values[way]
  pairs = [float(a) - float(b) for a, b in zip(own, values[floor])
           if a is not None and b is not None] if floor else []
  return {"ability": asked.ability, "row": asked.name, "unit": asked.unit,
          "from": way,
          **statistics.mean([float(v) for v in own if v is not None]),
          "truth": _mean(values["truth"]), "ceiling": _mean(values["vae"]),
          "floor": known.get(floor) if floor else None, "floor_is": floor,
          "controls": floors, "above": statistics.mean(pairs)}


def by_hidden(asked: rows_lib.Row, facts: Sequence[Any],
              some: Verdicts) -> dict[str, dict[str, Any]]:
  """The row for each number of frames out of sight, where facts say it."""
  found: dict[int, list[float]] = {}
  for one, v in zip(facts, some):
    value = v["values"].get(asked.name)
    if hasattr(one, "hidden") and value is not None:
      found.setdefault(int(one.hidden), []).append(float(value))
  return {str(n): statistics.mean(found[n]) for n in sorted(found)}


def unparsed(some: Verdicts) -> dict[str, Any]:
  """The share of videos in which nothing could be read, and why."""
  why: dict[str, int] = {}
  for v in some:
    if v["unparsed"]:
      why[v["unparsed"]] = why.get(v["unparsed"], 0) + 1
  return {**statistics.share(bool(v["unparsed"]) for v in some), "why": why}


def markdown(result: Mapping[str, Any]) -> str:
  """The scores as Markdown."""
  text = [f"# {result['count']} held-out clips a world, seed {result['seed']}, "
          f"model {result['model_digest'][:12]}\n",
          "Shares in percent, numbers with their unit; with 95 % bootstrap "
          "intervals. truth: as drawn. ceiling: the truth through the VAE. floor: "
          "the best video that must fail, by its name. above: what the model has "
          "more than the floor, paired by case. A share of a video that could not "
          "be read is 0. From a first clip, what comes back is counted less what "
          "comes where nothing was. surprises: of fours of clips, those in which what "
          "breaks the law loses more; frames alone: the same of single frames, 50 "
          "where nothing gives the law away, which an unpaired law does not hold "
          "to.\n"]
  for name, found in result["worlds"].items():
    text.append(f"## {name}\n")
    if "left_out" in found:
      text.append(f"Left out: {found['left_out']}\n")
      continue
    for way, m in found["unparsed"].items():
      why = "; ".join(f"{n} {w}" for w, n in m["why"].items())
      text.append(f"Unparsed, {way}: {report.percent(m['value'])} % of {m['n']}"
                  f"{' (' + why + ')' if why else ''}\n")
    text.append(report.markdown(
        ("ability", "row", "from", "value", "interval", "n", "truth", "ceiling",
         "floor", "above"), [_line(m) for m in found["rows"]]))
    curves = [(m["row"], m["from"], n, _form(c["value"], m["unit"]), c["n"])
              for m in found["rows"] for n, c in m["by_hidden"].items()]
    if curves:
      text.append(report.markdown(
          ("row", "from", "frames out of sight", "value", "n"), curves))
    text.append(report.markdown(
        ("what if", "value", "interval", "n", "ceiling", "floor"),
        [(m["row"], _form(m["value"], ""), _span(m, ""), m["n"],
          _form(m["ceiling"], ""), _form(m["floor"], ""))
         for m in found["what_if"]]))
    text.append(report.markdown(
        ("law", "surprises", "interval", "n", "loss, more", "frames alone"),
        [(law if m["paired"] else f"{law} (unpaired)", _form(m["value"], ""),
          _span(m, ""), m["n"], _form(m["more"]["value"], "%"),
          _form(m["alone"]["value"], "")) for law, m in found["surprise"].items()]))
    text.append(f"{found['seconds'] / 3600:.2f} hours\n")
  return "\n".join(text)


def _line(m):
  form = lambda v: _form(v, m["unit"])
  floor = f"{form(m['floor'])} ({m['floor_is']})" if m["floor_is"] else "-"
  above = m["above"]
  return (m["ability"], m["row"], m["from"], form(m["value"]),
          _span(m, m["unit"]), m["n"], form(m["truth"]),
          form(m["ceiling"]), floor, "-" if not above["n"] else
          _span(above, m["unit"]))


def _span(m, unit):
  return f"{_form(m['low'], unit)} to {_form(m['high'], unit)}"


def _form(value, unit):
  if value is None:
    return "-"
  return f"{value:.3g} {unit}" if unit else report.percent(value)


def _mean(some):
  known = [float(v) for v in some if v is not None]
  return float(np.mean(known)) if known else None
