#!/usr/bin/env bash
# Tries the image and compose.yaml for real: builds, trains with a coordinator and two workers, kills a worker's container, looks
# whether it comes back, stops at a checkpoint, and goes on. Then all is taken down.
#
#   deploy/docker/try.sh DATA          DATA: a data folder, such as photographs/train of `m2t data synth photographs`
#
# A Docker daemon and docker-compose (or `docker compose`) are needed. M2T_PREBUILT=1 takes the programs and libtorch of this clone
# instead of compiling in a container; M2T_DEBOOTSTRAP=1 makes the base image of Debian's packages instead of fetching it.
# Exit codes: 0 all as it should be; 1 it is not; 77 it cannot be tried here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${M2T_BIN:-$root/target/release}
data=$(realpath "${1:?name a data folder}")
scratch=$(mktemp -d "${TMPDIR:-/tmp}/m2t-docker.XXXXXX")

skip() { echo "skipped: $1"; rm -rf "$scratch"; exit 77; }
docker version >/dev/null 2>&1 || skip "no Docker daemon answers"
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
else
    skip "there is no docker compose"
fi
export M2T_DATA=$data M2T_EXPERIMENT=/config/try.toml M2T_RUN=try M2T_CONFIG=$scratch/config
export M2T_PAGE_PORT=17118 M2T_IMAGE=m2t:try M2T_TOKEN_FILE=$scratch/worker.token COMPOSE_PROJECT_NAME=m2ttry
files=(-f "$here/compose.yaml")
security=${M2T_SECURITY:-}
up() { "${compose[@]}" "${files[@]}" "$@"; }
cleanup() {
    up down --volumes --timeout 5 >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap cleanup EXIT

# --- the image ---
arguments=()
if [ -n "${M2T_DEBOOTSTRAP:-}" ]; then
    docker image inspect m2t-base:bookworm >/dev/null 2>&1 || {
        debootstrap --variant=minbase bookworm "$scratch/base" >"$scratch/debootstrap.log"
        tar -C "$scratch/base" -c . | docker import - m2t-base:bookworm >/dev/null
        rm -rf "$scratch/base"
    }
    arguments+=(--build-arg BASE=m2t-base:bookworm)
fi
if [ -n "${M2T_PREBUILT:-}" ]; then
    mkdir -p "$scratch/m2t/target/release" "$scratch/m2t/.libtorch/torch"
    cp "$bin"/m2t "$bin"/m2t-coordinator "$bin"/m2t-worker "$bin"/m2t-trainer "$scratch/m2t/target/release/"
    cp -a "$root/.libtorch/torch/lib" "$scratch/m2t/.libtorch/torch/lib"
    cp -a "$root/.libtorch/nvidia" "$scratch/m2t/.libtorch/nvidia"
    base=${M2T_DEBOOTSTRAP:+m2t-base:bookworm}
    printf 'FROM %s\nCOPY m2t /m2t\n' "${base:-debian:bookworm-slim}" >"$scratch/Dockerfile"
    docker build -q -t m2t-programs:try "$scratch" >/dev/null
    rm -rf "$scratch/m2t"
    arguments+=(--build-arg PROGRAMS=m2t-programs:try)
fi
docker build -f "$here/Dockerfile" -t m2t:try "${arguments[@]}" "$root" >"$scratch/build.log" 2>&1 || { tail -n 40 "$scratch/build.log"; exit 1; }
echo "built: $(docker image inspect m2t:try --format '{{.Size}}' | numfmt --to=iec) bytes"
docker run --rm --read-only --cap-drop ALL m2t:try m2t --version
docker run --rm --read-only --cap-drop ALL m2t:try m2t-trainer --version

# --- the run ---
mkdir -p "$scratch/config"
cp "$root/deploy/config/try.toml" "$scratch/config/try.toml"
chmod -R a+rX "$scratch"
: >"$M2T_TOKEN_FILE"
if [ -n "$security" ]; then
    cat >"$scratch/security.yaml" <<YAML
version: "3.7"
services:
  coordinator:
    command: [m2t-coordinator, --experiment=/config/try.toml, --data=/data/train, --output=/runs/try, --state=/state/try, "--listen=0.0.0.0:7117", "--http=0.0.0.0:7118", --min-devices=1, $security]
YAML
    files+=(-f "$scratch/security.yaml")
    up up -d
else
    up up -d coordinator
    for _ in $(seq 50); do up exec -T coordinator m2t status >/dev/null 2>&1 && break; sleep 0.2; done
    up exec -T coordinator m2t-coordinator token new --state /state/try --role worker >"$M2T_TOKEN_FILE"
    chmod 600 "$M2T_TOKEN_FILE"
    chown 7117 "$M2T_TOKEN_FILE"
    up up -d
fi
status() { up exec -T coordinator m2t status --json --coordinator 127.0.0.1:7117; }
step() { status 2>/dev/null | grep -oE '"step":[0-9]+' | head -1 | cut -d: -f2; }
past() {
    for _ in $(seq 300); do
        local now; now=$(step || true)
        [ -n "$now" ] && [ "$now" -gt "$1" ] && { echo "$now"; return; }
        sleep 0.2
    done
    echo "the run does not get past step $1" >&2
    up logs --tail 40 >&2
    return 1
}
echo "trains: step $(past 5)"
worker=$(up ps -q worker-2)
at=$(step)
kill -KILL "$(docker inspect --format '{{.State.Pid}}' "$worker")"
now=$(past $((at + 20)))
for _ in $(seq 100); do [ "$(docker inspect --format '{{.RestartCount}}' "$worker")" -ge 1 ] && break; sleep 0.2; done
echo "worker-2 killed at step $at: started again ($(docker inspect --format '{{.RestartCount}}' "$worker") time), step $now"
for _ in $(seq 100); do [ "$(docker inspect --format '{{.State.Health.Status}}' "$(up ps -q coordinator)")" = healthy ] && break; sleep 0.5; done
echo "the coordinator's health: $(docker inspect --format '{{.State.Health.Status}}' "$(up ps -q coordinator)")"
up stop coordinator >/dev/null 2>&1
echo "stopped: exit code $(docker inspect --format '{{.State.ExitCode}}' "$(up ps -aq coordinator 2>/dev/null || up ps -q coordinator)")"
up up -d >/dev/null 2>&1
echo "goes on: step $(past "$at")"
echo "all as it should be"
