"""Intervals, tables, sheets, SSIM and PSNR are what their definitions say."""

import numpy as np
from PIL import Image
import pytest
from scipy import stats

from sora_jax.evaluation import quality
from sora_jax.evaluation import report
from sora_jax.evaluation import sheets
from sora_jax.evaluation import statistics


@pytest.mark.parametrize("right, n", [(8, 10), (0, 20), (20, 20), (170, 200)])
def test_wilson_interval_is_that_of_scipy(right, n):
  expected = stats.binomtest(right, n).proportion_ci(method="wilson")
  np.testing.assert_allclose(statistics.wilson(right, n),
                             (expected.low, expected.high), atol=1e-6)


@pytest.mark.slow
def test_wilson_interval_covers_the_truth_as_often_as_it_says():
  rng = np.random.default_rng(0)
  for p in (0.5, 0.9):
    hits = [low <= p <= high for low, high in (
        statistics.wilson(k, 40) for k in rng.binomial(40, p, 4000))]
    assert 0.93 < np.mean(hits) < 0.98


def test_bootstrap_interval_is_near_the_normal_one():
  values = np.random.default_rng(1).normal(30, 2, 400)
  half = 1.96 * values.std(ddof=1) / 20
  low, high = statistics.bootstrap(values)
  assert abs(low - (values.mean() - half)) < 0.03
  assert abs(high - (values.mean() + half)) < 0.03


def test_no_answers_have_no_value():
  assert statistics.share([]) == {"value": None, "low": 0.0, "high": 1.0, "n": 0}
  assert statistics.mean([])["value"] is None
  assert report.percent(None) == "-" and report.percent(0.935) == "93.5"


def test_a_table_is_markdown_with_equal_lines():
  lines = report.markdown(("a", "bb"), [("ccc", 1), ("d", 22)]).splitlines()
  assert len(lines) == 4 and len(set(map(len, lines))) == 1
  assert [c.strip() for c in lines[2].strip("|").split("|")] == ["ccc", "1"]


def test_a_sheet_shows_first_and_last_frame_and_long_captions(tmp_path):
  video = np.zeros((20, 16, 24, 3), np.uint8)
  video[0], video[-1] = (255, 0, 0), (0, 0, 255)
  strip = sheets.strip(video, "short", frames=4)
  assert (strip[8, 8] == (255, 0, 0)).all()
  assert (strip[8, 3 * 26 + 8] == (0, 0, 255)).all()
  assert len(sheets.strip(video, "a longer caption " * 9, 4)) > len(strip) + 30
  sheets.sheet(tmp_path / "s.png", [video, video[:1]], ["a", "b"], frames=4)
  with Image.open(tmp_path / "s.png") as image:
    assert image.width == strip.shape[1]
  assert [p.name for p in tmp_path.iterdir()] == ["s.png"]


def direct_ssim(x, y):
  """Wang et al. 2004 equation 13, one window at a time."""
  d = np.arange(11) - 5
  w = np.exp(-(d[:, None] ** 2 + d ** 2) / (2 * 1.5 ** 2))
  w /= w.sum()
  c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
  values = []
  for i in range(x.shape[0] - 10):
    for j in range(x.shape[1] - 10):
      a, b = x[i:i + 11, j:j + 11], y[i:i + 11, j:j + 11]
      ma, mb = (w * a).sum(), (w * b).sum()
      va, vb = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum()
      cov = (w * (a - ma) * (b - mb)).sum()
      values.append((2 * ma * mb + c1) * (2 * cov + c2) /
                    ((ma ** 2 + mb ** 2 + c1) * (va + vb + c2)))
  return np.mean(values)


def noisy(seed=0, shape=(2, 17, 19, 3), sigma=20):
  rng = np.random.default_rng(seed)
  x = rng.integers(0, 256, shape).astype(np.uint8)
  y = np.clip(x + rng.normal(0, sigma, shape), 0, 255).astype(np.uint8)
  return x, y


def test_ssim_is_that_of_wang_et_al():
  x, y = noisy()
  expected = np.mean([direct_ssim(a[..., c].astype(float),
                                  b[..., c].astype(float))
                      for a, b in zip(x, y) for c in range(3)])
  assert abs(quality.ssim(x, y) - expected) < 1e-9
  assert quality.ssim(x, x) == pytest.approx(1)
  assert quality.ssim(x, 255 - x) < 0


def test_psnr_is_its_definition():
  x = np.full((1, 8, 8, 3), 100, np.uint8)
  y = x.copy()
  y[..., :4, :] = 110  # half of the pixels off by 10: an MSE of 50
  mask = np.zeros((1, 8, 8), bool)
  mask[..., :4] = True
  assert quality.psnr(x, y) == pytest.approx(31.1411, abs=1e-4)
  assert quality.psnr(x, y, mask) == pytest.approx(28.1308, abs=1e-4)
  assert quality.psnr(x, y, ~mask) == quality.MAX_DB
  assert np.isnan(quality.psnr(x, y, mask & ~mask))


def test_unequal_or_small_videos_are_refused():
  x = np.zeros((2, 12, 12, 3), np.uint8)
  with pytest.raises(ValueError, match="12, 12.*12, 11"):
    quality.psnr(x, x[:, :, :11])
  with pytest.raises(ValueError, match="11x11.*10x12"):
    quality.ssim(x[:, :, :10], x[:, :, :10])
