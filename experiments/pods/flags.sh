# shellcheck shell=bash
# Flags of the TPU compiler that overlap collectives with arithmetic, one list
# for each generation: what helps one can hang another. Source it:
#
#   . experiments/pods/flags.sh v5p
#
# sets LIBTPU_INIT_ARGS, which every later sora-jax command reads, `plan` too.
# libtpu refuses the fusion of all-gathers with what follows them
# (..fuse_all_gather) off v5e, where it may give wrong results. That libtpu 0.0.42
# and 0.0.50 take the lists was tried on a small program (try_flags.py), which
# the launch scripts repeat before a run; how fast they are was not: there was
# no TPU.

case "${1:-}" in
  v5e)
    flags=(--xla_tpu_enable_async_collective_fusion=true
           --xla_tpu_enable_async_collective_fusion_fuse_all_gather=true
           --xla_tpu_enable_async_collective_fusion_multiple_steps=true
           --xla_tpu_overlap_compute_collective_tc=true
           --xla_enable_async_all_gather=true) ;;
  v4)
    flags=(--xla_tpu_enable_async_collective_fusion=true
           --xla_tpu_enable_async_collective_fusion_multiple_steps=true
           --xla_tpu_overlap_compute_collective_tc=true
           --xla_enable_async_all_gather=true) ;;
  v5p)
    flags=(--xla_tpu_enable_async_collective_fusion=true
           --xla_tpu_enable_async_collective_fusion_multiple_steps=true
           --xla_tpu_overlap_compute_collective_tc=true
           --xla_enable_async_all_gather=true
           --xla_enable_async_all_reduce=true
           --xla_tpu_enable_async_all_to_all=true
           --xla_max_concurrent_async_all_gathers=4
           --xla_latency_hiding_scheduler_rerun=5
           --xla_tpu_scoped_vmem_limit_kib=65472) ;;
  v6e)
    flags=(--xla_tpu_enable_async_collective_fusion=true
           --xla_tpu_enable_async_collective_fusion_multiple_steps=true
           --xla_tpu_overlap_compute_collective_tc=true
           --xla_enable_async_all_gather=true
           --xla_tpu_scoped_vmem_limit_kib=98304) ;;
  *)
    echo "flags.sh: give v4, v5e, v5p or v6e" >&2
    return 2 ;;
esac
export LIBTPU_INIT_ARGS="${flags[*]}"
unset flags
