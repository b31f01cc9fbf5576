#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A Slurm of one node, this machine: `node.sh install`, `up`, `down`. As root, on Debian or its kin.
# Its two GPUs are empty files, so that a job can ask for one; nothing is held to a control group.
set -euo pipefail

CONF=/etc/slurm/slurm.conf
MARK="# A test of infwidth."
STATE=/var/lib/infwidth-slurm
PACKAGES="slurmctld slurmd slurm-client munge"

die() { echo "node.sh: $*" >&2; exit 2; }

may_be_set_up() {
  [ "$(id -u)" = 0 ] || die "not root"
  if [ -e "$CONF" ] && [ "$(head -n 1 "$CONF")" != "$MARK" ]; then
    die "$CONF is not of this test: this machine has a Slurm of its own"
  fi
}

# RUNLEVEL=1: that no daemon starts by itself, before there is a configuration.
install() {
  may_be_set_up
  dpkg -s $PACKAGES >/dev/null 2>&1 && return
  apt-get install -qq --simulate $PACKAGES >/dev/null 2>&1 || timeout 90 apt-get update -qq ||
    die "apt-get finds no Slurm"
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq --no-install-recommends \
    -o Acquire::http::Timeout=20 $PACKAGES >/dev/null || die "apt-get cannot install Slurm"
}

up() {
  may_be_set_up
  down
  mkdir -p /etc/slurm "$STATE/ctld" "$STATE/d"
  touch "$STATE/gpu0" "$STATE/gpu1"
  echo "Name=gpu File=$STATE/gpu[0-1]" >/etc/slurm/gres.conf
  local host
  host=$(hostname -s)
  cat >"$CONF" <<END
$MARK
ClusterName=infwidth
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
# A job that is put back waits until its credential has run out: 120 s by default.
AuthInfo=cred_expire=5
# And then until all jobs are next looked at: 60 s by default.
SchedulerParameters=sched_interval=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
# Memory is what the profile asks for, not what this machine has.
SlurmdParameters=config_overrides
ReturnToService=2
# Jobs that have ended are looked at afterwards.
MinJobAge=3600
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/d
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmctldLogFile=$STATE/slurmctld.log
SlurmdLogFile=$STATE/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
  if ! munge -n 2>/dev/null | unmunge >/dev/null 2>&1; then
    mkdir -p /run/munge
    chown munge: /run/munge
    runuser -u munge -- /usr/sbin/munged --pid-file="/run/munge/infwidth.pid"
  fi
  slurmctld
  slurmd
  for _ in $(seq 60); do
    [ "$(timeout 2 sinfo -h -o %T 2>/dev/null)" = idle ] && return
    sleep 1
  done
  tail -n 5 "$STATE"/*.log >&2
  die "the node did not come up"
}

stop() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.2
  done
  kill -KILL "$pid" 2>/dev/null || true
}

down() {
  [ "$(head -n 1 "$CONF" 2>/dev/null)" = "$MARK" ] || return 0
  timeout 20 scancel -u root 2>/dev/null || true
  timeout 20 bash -c 'while [ -n "$(squeue -h)" ]; do sleep 0.2; done' 2>/dev/null || true
  stop "$STATE/slurmd.pid"
  stop "$STATE/slurmctld.pid"
  stop /run/munge/infwidth.pid
  rm -rf "$STATE" "$CONF" /etc/slurm/gres.conf
}

case "${1:-}" in
  install | up | down) "$1" ;;
  *) die "usage: node.sh install|up|down" ;;
esac
