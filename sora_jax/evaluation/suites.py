"""What a model can be scored by: a suite is its file and its line in SUITES."""

from sora_jax import contracts
from sora_jax.evaluation import emergence
from sora_jax.evaluation import prompting
from sora_jax.evaluation import vae
from sora_jax.evaluation import worlds

SUITES: dict[str, contracts.Suite] = {
    "worlds": worlds,
    "vae": vae,
    "prompting": prompting,
    "emergence": emergence,
}
