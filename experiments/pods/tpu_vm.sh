#!/usr/bin/env bash
# Trains on TPU VMs, requested as queued resources.
#
#   export PROJECT=my-project ZONE=us-east5-a
#   experiments/pods/tpu_vm.sh create  NAME v5p-128 [SLICES]
#   experiments/pods/tpu_vm.sh status  NAME
#   experiments/pods/tpu_vm.sh setup   NAME [GIT_URL]
#   experiments/pods/tpu_vm.sh run     NAME sora-jax train --processes=auto ..
#   experiments/pods/tpu_vm.sh logs    NAME
#   experiments/pods/tpu_vm.sh stop    NAME
#   experiments/pods/tpu_vm.sh delete  NAME
#
# `run` starts the same command on every host, which --processes=auto joins into
# one run; the same `run` again goes on where the last one was stopped. Spot capacity: SPOT=1 .. create. Not run here: written
# from Google's reference of these commands.
set -euo pipefail

usage() { sed -n '2,16s/^# \{0,1\}//p' "$0" >&2; exit 2; }

verb=${1:-} name=${2:-}
[[ -n $verb && -n $name ]] || usage
shift 2
: "${PROJECT:?export PROJECT=the Google Cloud project}"
: "${ZONE:?export ZONE=a zone that has the TPUs}"
where=(--project="$PROJECT" --zone="$ZONE")

# Runs a command on every host of every slice.
everywhere() {
  gcloud compute tpus queued-resources ssh "$name" "${where[@]}" \
    --node=all --worker=all --command="$1"
}

# The system image of a kind of TPU.
image() {
  case $1 in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v4-*) echo tpu-ubuntu2204-base ;;
    *) echo "tpu_vm.sh: no image is known for '$1'" >&2; exit 2 ;;
  esac
}

case $verb in
  create)
    [[ $# -ge 1 ]] || usage
    kind=$1 slices=${2:-1} version=$(image "$1")
    nodes=(--node-id="$name")
    ((slices == 1)) || nodes=(--node-count="$slices" --node-prefix="$name")
    [[ -z ${SPOT:-} ]] || nodes+=(--spot)
    gcloud compute tpus queued-resources create "$name" "${where[@]}" \
      --accelerator-type="$kind" --runtime-version="$version" "${nodes[@]}"
    ;;
  status)
    gcloud compute tpus queued-resources describe "$name" "${where[@]}" \
      --format="value(state.state)"
    ;;
  setup)
    url=${1:-}
    [[ -n $url ]] || url=$(git remote get-url origin)
    everywhere "git clone -q '$url' sora_jax 2>/dev/null || git -C sora_jax pull -q
      command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
      export PATH=\$HOME/.local/bin:\$PATH
      cd sora_jax && uv venv -q --python 3.12 .venv --allow-existing
      uv pip install -q '.[tpu]'"
    ;;
  run)
    [[ $# -ge 1 ]] || usage
    kind=$(gcloud compute tpus queued-resources describe "$name" \
      "${where[@]}" \
      --format="value(tpu.nodeSpec[0].node.acceleratorType)")
    kind=${kind%%-*}
    line=$(printf '%q ' "$@")
    everywhere "cd sora_jax && . experiments/pods/flags.sh ${kind/litepod/e} \
      && export PATH=\$PWD/.venv/bin:\$PATH \
      && python experiments/pods/try_flags.py ${kind/litepod/e} \
      && { setsid nohup $line >run.log 2>&1 & echo \$! >run.pid; }"
    ;;
  logs)
    gcloud compute tpus queued-resources ssh "$name" "${where[@]}" \
      --node=0 --worker=0 --command="tail -n 50 -F sora_jax/run.log"
    ;;
  stop)
    # All hosts save the same step and end; one of them would be enough.
    everywhere "kill -TERM \$(cat sora_jax/run.pid)"
    ;;
  delete)
    gcloud compute tpus queued-resources delete "$name" "${where[@]}" --force
    ;;
  *) usage ;;
esac
