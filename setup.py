"""Installs sora_jax and the command `sora-jax`; the configs come along."""

import glob
import runpy

import setuptools

EXTRAS = runpy.run_path("sora_jax/extras.py")["EXTRAS"]

setuptools.setup(
    name="sora_jax",
    version=runpy.run_path("sora_jax/__init__.py")["__version__"],
    description="Video generation models as world simulators, in JAX and Flax",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["sora_jax", "sora_jax.*"]),
    package_data={"sora_jax": ["py.typed", "weights/*/*", "weights/*/*/*",
                               "weights/*/*/*/*"]},
    data_files=[("share/sora_jax/configs", glob.glob("configs/*.py"))],
    install_requires=[
        "jax>=0.10", "flax", "optax", "orbax-checkpoint", "grain",
        "array_record", "tensorflow-datasets", "ml-collections", "absl-py",
        "etils", "numpy", "scipy", "sentencepiece", "av>=18", "safetensors",
        "pillow", "tqdm", "cachetools"],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["sora-jax = sora_jax.main:run"]},
)
