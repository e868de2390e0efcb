#!/usr/bin/env bash
# Trains on TPUs of a GKE cluster, through xpk (pip install xpk).
#
#   export PROJECT=my-project ZONE=us-east5-a CLUSTER=my-cluster
#   export KIND=v5p-128 SLICES=1
#   experiments/pods/gke.sh cluster
#   experiments/pods/gke.sh submit NAME sora-jax train --processes=auto ..
#   experiments/pods/gke.sh list
#   experiments/pods/gke.sh logs   NAME
#   experiments/pods/gke.sh stop   NAME
#   experiments/pods/gke.sh delete-cluster
#
# `submit` builds an image of this checkout, pushes it to IMAGE and starts the
# command on every host of every slice, which --processes=auto joins into one
# run. A preempted workload is started again up to RESTARTS times, and goes on
# from its last checkpoint. Capacity is on demand, with SPOT=1 .. cluster spot.
# Not run here: written from the documentation of xpk.
set -euo pipefail

usage() { sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2; }

verb=${1:-} name=${2:-}
[[ -n $verb ]] || usage
: "${PROJECT:?export PROJECT=the Google Cloud project}"
: "${ZONE:?export ZONE=a zone that has the TPUs}"
: "${CLUSTER:?export CLUSTER=the name of the cluster}"
: "${KIND:=v5p-128}" "${SLICES:=1}" "${RESTARTS:=10}"
: "${IMAGE:=gcr.io/$PROJECT/sora-jax}"
where=(--project="$PROJECT" --zone="$ZONE" --cluster="$CLUSTER")

case $verb in
  cluster)
    capacity=--on-demand
    [[ -z ${SPOT:-} ]] || capacity=--spot
    xpk cluster create "${where[@]}" --tpu-type="$KIND" \
      --num-slices="$SLICES" "$capacity" --enable-gcsfuse-csi-driver
    ;;
  submit)
    [[ $# -ge 3 ]] || usage
    shift 2
    tag=$IMAGE:$(git rev-parse --short HEAD)
    docker build -q -t "$tag" -f - . <<'DOCKER'
FROM python:3.12-slim
WORKDIR /sora_jax
COPY . .
RUN pip install -q --no-cache-dir '.[tpu]'
DOCKER
    docker push -q "$tag"
    generation=${KIND%%-*}
    generation=${generation/litepod/e}
    line=$(printf '%q ' "$@")
    xpk workload create "${where[@]}" --workload="$name" --tpu-type="$KIND" \
      --num-slices="$SLICES" --max-restarts="$RESTARTS" \
      --docker-image="$tag" \
      --command="cd /sora_jax && . experiments/pods/flags.sh $generation && python experiments/pods/try_flags.py $generation && exec $line"
    ;;
  list)
    xpk workload list "${where[@]}"
    ;;
  logs)
    [[ -n $name ]] || usage
    kubectl logs -f --tail=50 \
      -l "jobset.sigs.k8s.io/jobset-name=$name,batch.kubernetes.io/job-completion-index=0"
    ;;
  stop)
    [[ -n $name ]] || usage
    xpk workload delete "${where[@]}" --workload="$name"
    ;;
  delete-cluster)
    xpk cluster delete "${where[@]}"
    ;;
  *) usage ;;
esac
