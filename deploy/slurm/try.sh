#!/usr/bin/env bash
# Tries m2t.sbatch on a real Slurm of this machine's own: slurmctld and two slurmd beside each other, of Debian's packages, with
# configuration, keys and state in a temporary folder. A job of two tasks trains, is requeued, resumes at its step, is cancelled,
# and is submitted again; then all is taken down.
#
#   apt-get install slurmctld slurmd slurm-client munge        (with nothing of it started)
#   deploy/slurm/try.sh DATA          DATA: a data folder, such as photographs/train of `m2t data synth photographs`
#
# Root is needed; the programs from target/release (M2T_BIN: elsewhere).
# Exit codes: 0 all as it should be; 1 it is not; 77 it cannot be tried here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${M2T_BIN:-$root/target/release}
data=$(realpath "${1:?name a data folder}")
pixels=${M2T_PIXELS:-32}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/m2t-slurm.XXXXXX")
chmod 755 "$scratch"
host=$(hostname -s)
daemons=()

skip() { echo "skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "root is needed to start slurmd"
for tool in munged slurmctld slurmd sbatch srun scontrol squeue scancel; do
    command -v "$tool" >/dev/null || skip "there is no $tool (apt-get install slurmctld slurmd slurm-client munge)"
done

cleanup() {
    # What still runs is ended by its slurmd, which must live until then.
    for _ in $(seq 60); do
        scancel --state=PENDING,RUNNING --user=root 2>/dev/null || true
        [ -z "$(squeue -h 2>/dev/null)" ] && break
        sleep 1
    done
    for daemon in "${daemons[@]}"; do kill "$daemon" 2>/dev/null || true; done
    wait 2>/dev/null || true
    [ -n "${M2T_KEEP:-}" ] || rm -rf "$scratch"
}
trap cleanup EXIT

# --- munge, with a key of its own ---
mkdir -m 700 "$scratch/munge" && mkdir -m 755 "$scratch/run"
(umask 077 && head -c 1024 /dev/urandom >"$scratch/munge/key")
munged --foreground --force --key-file="$scratch/munge/key" --socket="$scratch/run/munge.socket" \
    --pid-file="$scratch/run/munged.pid" --log-file="$scratch/munge/log" --seed-file="$scratch/munge/seed" \
    >"$scratch/munged.out" 2>&1 &
daemons+=($!)

# --- Slurm: two nodes of one CPU each, on one host; a requeued job waits until old credentials have expired, so these live short ---
mkdir "$scratch/state" "$scratch/log" "$scratch/spool"
export SLURM_CONF=$scratch/slurm.conf
cat >"$SLURM_CONF" <<CONF
ClusterName=m2ttry
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=17002
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$scratch/run/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool/%n
SlurmctldPidFile=$scratch/run/slurmctld.pid
SlurmdPidFile=$scratch/run/slurmd-%n.pid
SlurmctldLogFile=$scratch/log/slurmctld
SlurmdLogFile=$scratch/log/slurmd-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0
SchedulerType=sched/backfill
MpiDefault=none
JobRequeue=1
ReturnToService=2
KillWait=30
MinJobAge=3600
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName=try[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17003-17004] CPUs=1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
for _ in $(seq 50); do [ -S "$scratch/run/munge.socket" ] && break; sleep 0.1; done
slurmctld -D >"$scratch/slurmctld.out" 2>&1 &
daemons+=($!)
for node in try1 try2; do
    mkdir -p "$scratch/spool/$node"
    slurmd -D -N "$node" >"$scratch/slurmd-$node.out" 2>&1 &
    daemons+=($!)
done
for _ in $(seq 150); do
    [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = 2 ] && break
    sleep 0.2
done
[ "$(sinfo -h -t idle -o %D)" = 2 ] || { sinfo; tail -n 20 "$scratch"/*.out "$scratch"/log/*; exit 1; }
sinfo --version
sinfo -N -h -o '%N %T %c CPU'

# --- the run ---
# With the usual patience: the nodes of a real cluster are not beside each other.
sed -e "s/^pixels = .*/pixels = $pixels/" -e "s/^steps = .*/steps = ${M2T_STEPS:-100000}/" \
    -e 's/^checkpoint_every = .*/checkpoint_every = 50/' -e '/^heartbeat_timeout/d' "$root/deploy/config/try.toml" >"$scratch/try.toml"
output=$scratch/run-of-try
metrics=$output/metrics.jsonl
export M2T_EXPERIMENT=$scratch/try.toml M2T_DATA=$data M2T_OUTPUT=$output M2T_BIN=$bin M2T_DEVICES=cpu:1
export M2T_OPTIONS="--min-devices 1" M2T_SECURITY=${M2T_SECURITY-} M2T_TOKENS=$scratch/tokens

submit() { sbatch --parsable --nodes=2 --output="$scratch/job-%j.log" "$@" "$here/m2t.sbatch"; }
steps() { if [ -f "$metrics" ]; then wc -l <"$metrics"; else echo 0; fi; }
newest() { find "$output" -maxdepth 2 -path '*/checkpoints/step-*' -printf '%f\n' | sort | tail -1 | sed 's/step-0*//'; }
state() { scontrol show job "$1" | grep -oE 'JobState=[A-Z]+' | cut -d= -f2; }
restarts() { scontrol show job "$1" | grep -oE 'Restarts=[0-9]+' | cut -d= -f2; }
fail() { echo "$1"; scontrol show job "$job" || true; tail -n 40 "$scratch"/job-*.log; exit 1; }
# Waits until the run is past a step, or two minutes.
past() {
    for _ in $(seq 600); do [ "$(steps)" -gt "$1" ] && return; sleep 0.2; done
    fail "the run does not get past step $1"
}
until_state() {
    for _ in $(seq 600); do [[ "$(state "$job")" =~ ^($1)$ ]] && return; sleep 0.2; done
    fail "the job is not $1"
}
# Cancels the job; one that requeues itself at this very moment is cancelled when it is back.
cancel() {
    for _ in $(seq 60); do
        scancel "$job"
        for _ in $(seq 50); do [[ "$(state "$job")" =~ ^(CANCELLED|COMPLETED|FAILED)$ ]] && return; sleep 0.2; done
    done
    fail "the job cannot be cancelled"
}

job=$(submit --time=60)
echo "submitted: job $job on two nodes"
past 20
echo "trains: step $(steps), state $(state "$job")"

scontrol requeue "$job"
for _ in $(seq 300); do [ "$(restarts "$job")" = 1 ] && [ "$(state "$job")" = RUNNING ] && break; sleep 0.2; done
[ "$(restarts "$job")" = 1 ] || fail "the job was not requeued"
left=$(newest)
past "$left"
echo "requeued: left at checkpoint $left, started again (restart $(restarts "$job")), now at step $(steps)"
grep -E 'm2t: job|heckpoint|esum' "$scratch/job-$job.log" | tail -12

cancel
left=$(newest)
echo "cancelled: state $(state "$job"), checkpoint at step $left of $(steps) steps in metrics.jsonl"
[ "$left" = "$(steps)" ] || fail "steps were lost"

# A time limit near: the signal stops the run, and the script requeues its job.
job=$(submit --time=3 --signal=B:USR1@120)
past $((left + 5))
for _ in $(seq 600); do [ "$(restarts "$job")" = 1 ] && [ "$(state "$job")" = RUNNING ] && break; sleep 0.2; done
[ "$(restarts "$job")" = 1 ] || fail "the job was not requeued by its script"
left=$(newest)
past "$left"
echo "out of time: job $job stopped at checkpoint $left, requeued itself, now at step $(steps)"
cancel

# To the end.
rm -rf "$output"
sed -i "s/^steps = .*/steps = 60/" "$M2T_EXPERIMENT"
job=$(submit --time=60)
until_state 'COMPLETED|FAILED'
[ "$(state "$job") $(steps)" = "COMPLETED 60" ] || fail "the run did not finish"
"$bin/m2t" audit "$output" | tail -3
echo "finished: job $job is COMPLETED at step 60"
pgrep -f "$output" >/dev/null && fail "something was left running"
echo "all as it should be"
