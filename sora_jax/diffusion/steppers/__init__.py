"""The steppers by the names that --method takes.

A stepper is a file beside this one and a line in STEPPERS; contracts.Stepper
says what it has. The stepper of other people's model folders, UniPC, is not in
the table: it takes its grid from their scheduler_config.json (schedulers.py).

With x0_hat(t) = E[x0 | x_t] the flow of flow.py is dx/dt = (x - x0_hat) / t, so
that, exactly,

  x_s / s = x_t / t + int_s^t x0_hat(u) / u^2 du.

A step goes from t to s < t. `euler` holds x0_hat in the integral, `ab2` takes
it linear through this evaluation and the last one, `heun` evaluates at both
ends of the step, and `ancestral` draws a part of the noise anew. The last step,
to s = 0, gives x0_hat itself in all of them: along the flow x0_hat(t) - x_0 =
O(t^2), so that it costs no order.
"""

from sora_jax import contracts
from sora_jax.diffusion.steppers import ab2
from sora_jax.diffusion.steppers import ancestral
from sora_jax.diffusion.steppers import euler
from sora_jax.diffusion.steppers import heun

STEPPERS: dict[str, contracts.Stepper] = {
    "euler": euler.Euler(),
    "ab2": ab2.AB2(),
    "ancestral": ancestral.Ancestral(),
    "heun": heun.Heun(),
}
