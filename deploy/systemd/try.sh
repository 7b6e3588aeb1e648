#!/usr/bin/env bash
# Tries the units beside this file for real, without touching this machine's own systemd: a second one, as process 1 of
# namespaces of its own, on a copy-on-write layer over this machine's files. It installs the units as README.md says, trains,
# kills the worker's and the coordinator's processes, and looks whether they come back into the run; then stops both.
#
#   deploy/systemd/try.sh DATA          DATA: a data folder, such as photographs/train of `m2t data synth photographs`
#
# Root, systemd and util-linux are needed; the programs from target/release (M2T_BIN: elsewhere), libtorch from .libtorch.
# Exit codes: 0 all as it should be; 1 it is not; 77 it cannot be tried here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${M2T_BIN:-$root/target/release}
data=$(realpath "${1:?name a data folder}")
port=${M2T_PORT:-7917}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/m2t-systemd.XXXXXX")
pid=

skip() { echo "skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "root is needed for namespaces"
for tool in unshare nsenter systemctl systemd-run; do
    command -v "$tool" >/dev/null || skip "there is no $tool"
done
systemd=$(command -v /usr/lib/systemd/systemd /lib/systemd/systemd | head -1)
[ -n "$systemd" ] || skip "there is no systemd"
for program in m2t m2t-coordinator m2t-worker m2t-trainer; do
    [ -x "$bin/$program" ] || { echo "there is no $bin/$program; build it, or set M2T_BIN"; exit 1; }
done

cleanup() {
    if [ -n "$pid" ]; then
        kill -KILL "$pid" 2>/dev/null || true      # process 1 of its namespace: all in it ends
        wait 2>/dev/null || true
    fi
    umount "$scratch/root" 2>/dev/null || true
    for _ in $(seq 20); do
        find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null && break
        sleep 0.1
    done
    [ -n "${M2T_KEEP:-}" ] || rm -rf "$scratch"
}

# --- a root of its own: this machine's files below, changes above ---
mkdir "$scratch/root" "$scratch/above" "$scratch/work"
hierarchy=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$hierarchy" ] || skip "there is no cgroup2"
cgroup=$hierarchy/m2t-try-$$
trap cleanup EXIT
mkdir "$cgroup"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/above,workdir=$scratch/work" "$scratch/root" \
    || skip "there is no overlay file system"
in=$scratch/root

# --- what README.md installs ---
mkdir -p "$in/opt/m2t/bin" "$in/etc/m2t" "$in/srv/m2t/runs" "$in/srv/m2t/data"
cp "$bin"/m2t "$bin"/m2t-coordinator "$bin"/m2t-worker "$bin"/m2t-trainer "$in/opt/m2t/bin/"
libtorch=$(realpath "$root/.libtorch")
cp "$here"/m2t-*.service "$in/etc/systemd/system/"
install -D -m 644 "$here/m2t.sysusers" "$in/usr/lib/sysusers.d/m2t.conf"
chroot "$in" systemd-sysusers m2t.conf >/dev/null
chroot "$in" chown -R m2t:m2t /srv/m2t/runs
cp "$root/deploy/config/try.toml" "$in/srv/m2t/try.toml"
mkdir -p "$in$data"
cat >"$in/etc/m2t/coordinator.env" <<ENV
M2T_EXPERIMENT=/srv/m2t/try.toml
M2T_DATA=/srv/m2t/data/train
M2T_OUTPUT=/srv/m2t/runs/try
M2T_LISTEN=127.0.0.1:$port
M2T_OPTIONS=--min-devices 1
ENV
cat >"$in/etc/m2t/worker.env" <<ENV
M2T_COORDINATOR=127.0.0.1:$port
M2T_DEVICES=cpu:2
M2T_OPTIONS=--name first
ENV
cat >"$in/etc/systemd/system/m2t-try.target" <<'UNIT'
[Unit]
Description=Nothing but what is tried
Requires=basic.target
After=basic.target
UNIT
for unit in systemd-udevd systemd-udev-trigger systemd-timesyncd systemd-networkd systemd-resolved systemd-logind systemd-binfmt \
    systemd-modules-load systemd-sysctl systemd-random-seed systemd-remount-fs systemd-firstboot systemd-update-utmp \
    keyboard-setup console-setup ssh; do
    ln -sf /dev/null "$in/etc/systemd/system/$unit.service"
done
find "$in/etc/systemd/system" -name '*.socket' -o -name '*.timer' | while read -r unit; do rm -f "$unit"; done
rm -rf "$in/etc/fstab"

# --- process 1 ---
cat >"$scratch/start" <<'START'
set -e
echo $$ >"$cgroup/cgroup.procs"
exec unshare --cgroup --mount --pid --ipc --uts --fork --kill-child --propagation private bash -e -c '
    in=$scratch/root
    mount -t proc proc "$in/proc"
    mount -t sysfs -o ro sysfs "$in/sys"
    mount -t cgroup2 cgroup2 "$in/sys/fs/cgroup"
    mount --rbind /dev "$in/dev"
    for folder in run run/lock tmp; do mkdir -p "$in/$folder"; mount -t tmpfs tmpfs "$in/$folder"; done
    mkdir -p "$in/srv/m2t/data/train"
    mount --bind -o ro "$data" "$in/srv/m2t/data/train"
    # Bound, for units see neither /tmp nor /home, where a clone may lie.
    mkdir -p "$in/opt/m2t/libtorch"
    mount --bind -o ro "$libtorch" "$in/opt/m2t/libtorch"
    cd "$in"
    mkdir -p old
    pivot_root . old
    umount -l /old
    # As systemd has it where it is process 1 of a machine: units see what it mounts for them.
    mount --make-rshared /
    exec env -i container=m2t PATH=/usr/sbin:/usr/bin:/sbin:/bin "$systemd" --system --unit=m2t-try.target --log-target=journal
'
START
export scratch cgroup data libtorch systemd
bash "$scratch/start" >"$scratch/console" 2>&1 &
for _ in $(seq 100); do
    unshared=$(pgrep -P $! || true)
    pid=$(for p in $unshared; do [ "$(cat "/proc/$p/comm")" = systemd ] && echo "$p"; done || true)
    [ -n "$pid" ] && nsenter -t "$pid" -a systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded' && break
    sleep 0.2
done
[ -n "$pid" ] || { cat "$scratch/console"; echo "systemd does not start in namespaces here"; exit 1; }
inside() { nsenter -t "$pid" -a "$@"; }
echo "systemd runs as process 1 of its own namespaces: $(inside systemctl is-system-running || true)"

security=/srv/m2t/runs/try/state/security
status() { inside /opt/m2t/bin/m2t status --json --coordinator "127.0.0.1:$port" --token-file $security/viewer.token 2>/dev/null; }
step() { status | grep -oE '"step":[0-9]+' | head -1 | cut -d: -f2; }
generation() { status | grep -oE '"generation":[0-9]+' | head -1 | cut -d: -f2; }
# Waits until the run is past a step, or a minute.
past() {
    for _ in $(seq 300); do
        local now; now=$(step || true)
        [ -n "$now" ] && [ "$now" -gt "$1" ] && { echo "$now"; return; }
        sleep 0.2
    done
    echo "the run does not get past step $1" >&2
    inside journalctl --no-pager -n 40 >&2 || true
    return 1
}
fail() { echo "$1"; inside journalctl --no-pager -n 40 || true; exit 1; }
# Waits until a unit is no longer active, or two minutes.
until_inactive() {
    for _ in $(seq 600); do
        [ "$(inside systemctl show -p ActiveState --value "$1")" = inactive ] && return
        sleep 0.2
    done
    fail "$1 does not end"
}
# systemd forgets the exit code of what ended well; its journal does not.
said_to_end_well() {
    for words in "stopped; the same command continues" "Deactivated successfully"; do
        inside journalctl --no-pager -o cat -u "$1" | grep -F "$words" >/dev/null || fail "$1 did not say: $words"
    done
}
exit_of() { inside systemctl show -p ExecMainStatus --value "$1"; }
main_pid() { inside systemctl show -p MainPID --value "$1"; }

inside systemctl start m2t-coordinator
for _ in $(seq 100); do inside test -s $security/worker.token && break; sleep 0.2; done
inside install -m 600 $security/worker.token /etc/m2t/worker.token
inside systemctl start m2t-worker
now=$(past 5)
echo "trains: step $now, generation $(generation)"

for unit in m2t-worker m2t-coordinator; do
    old=$(main_pid $unit)
    at=$(step); of=$(generation)
    inside kill -KILL "$old"
    new=$old
    for _ in $(seq 100); do
        new=$(main_pid $unit)
        [ "$new" != 0 ] && [ "$new" != "$old" ] && break
        sleep 0.2
    done
    [ "$new" != "$old" ] || fail "$unit was not started again"
    now=$(past "$at")
    echo "$unit killed at step $at (process $old): started again (process $new), the run is at step $now, generation $of then $(generation)"
done

inside systemctl kill --kill-whom=main --signal=SIGTERM m2t-worker
until_inactive m2t-worker
said_to_end_well m2t-worker
sleep 3
[ "$(inside systemctl show -p ActiveState --value m2t-worker)" = inactive ] || fail "a drained worker was started again"
echo "drained by SIGTERM, and not started again"

at=$(step)
inside systemctl start m2t-worker
past "$at" >/dev/null
inside systemctl stop m2t-coordinator
said_to_end_well m2t-coordinator
echo "stopped at a checkpoint: $(find "$scratch/above/srv/m2t/runs/try/checkpoints" -maxdepth 1 -name 'step-*' -printf '%f\n' | sort | tail -1)"

sed -i 's/^M2T_EXPERIMENT=.*/M2T_EXPERIMENT=no-such-run/' "$in/etc/m2t/coordinator.env"
inside systemctl start m2t-coordinator || true
sleep 4
[ "$(exit_of m2t-coordinator) $(inside systemctl show -p NRestarts --value m2t-coordinator)" = "2 0" ] || fail "refused input was tried again"
echo "refused input: exit 2, and not started again"
for unit in m2t-coordinator m2t-worker; do
    inside systemd-analyze security --no-pager $unit.service 2>/dev/null | tail -1
done
echo "all as it should be"
