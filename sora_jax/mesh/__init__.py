"""The device mesh, and which axis of a parameter or activation lies along it.

Mesh axes: data (rows), fsdp (rows and parameters), context (tokens of a row and
parameters, or columns of a video), tensor (heads and hidden units). Parameters
map to these by path: every parameter matches exactly one row of a rule table, and
the same rows serve Adam moments and EMA, whose paths end in the parameter's.
All axes are Auto, so the compiler places what is not named here.

A function that `on` puts on a mesh may say how its activations lie
(`constrain`) and run parts of itself on each device's share (`sharded`). Both
leave out a mesh axis that does not divide what it should split, and do nothing
without a mesh: the same code runs on one device.
"""

from sora_jax.mesh.activations import constrain
from sora_jax.mesh.activations import current
from sora_jax.mesh.activations import generation
from sora_jax.mesh.activations import halo
from sora_jax.mesh.activations import on
from sora_jax.mesh.activations import platform
from sora_jax.mesh.activations import sharded
from sora_jax.mesh.activations import size
from sora_jax.mesh.activations import spec
from sora_jax.mesh.activations import splits
from sora_jax.mesh.arrays import assemble
from sora_jax.mesh.arrays import host
from sora_jax.mesh.arrays import placed
from sora_jax.mesh.arrays import replicated
from sora_jax.mesh.arrays import rows
from sora_jax.mesh.arrays import to_global
from sora_jax.mesh.axes import AXES
from sora_jax.mesh.axes import check_axis
from sora_jax.mesh.axes import HEADS
from sora_jax.mesh.axes import make_mesh
from sora_jax.mesh.axes import row_shares
from sora_jax.mesh.axes import ROWS
from sora_jax.mesh.axes import TOKENS
from sora_jax.mesh.params import CAPTIONER_RULES
from sora_jax.mesh.params import check_division
from sora_jax.mesh.params import DIT_RULES
from sora_jax.mesh.params import fit
from sora_jax.mesh.params import GATHERED
from sora_jax.mesh.params import gathered
from sora_jax.mesh.params import param_specs
from sora_jax.mesh.params import path_name
from sora_jax.mesh.params import shardings
from sora_jax.mesh.params import TEXT_RULES
from sora_jax.mesh.params import VAE_RULES
