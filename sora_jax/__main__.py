"""`python -m sora_jax VERB` is `sora-jax VERB`."""

from sora_jax import main

if __name__ == "__main__":
  main.run()
