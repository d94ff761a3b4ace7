#!/usr/bin/env bash
# A Slurm of its own on this machine, for tests: munged, slurmctld and a slurmd for each node, on loopback, without systemd
# and without a file in /etc. Its folder, in /tmp because Unix sockets have short names, is written to RECORD.
# usage: tests/slurm/cluster.sh start RECORD [NODES=2] [PROCESSORS_PER_NODE=8] [GPUS_PER_NODE=2]
#        tests/slurm/cluster.sh stop RECORD
#        tests/slurm/cluster.sh kill-node RECORD n2        the death of a node: all its processes, at once
#        tests/slurm/cluster.sh start-node RECORD n2
# Clients need SLURM_CONF=$(<RECORD)/etc/slurm.conf. Partitions: debug, and high, whose jobs preempt those of debug.
source "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
PATH=$PATH:/usr/sbin:/sbin

main() {
  local action=${1:-}
  case $action in
    start | stop | kill-node | start-node) ;;
    *) sed -n '2,9s/^# //p' "${BASH_SOURCE[0]}" && return ;;
  esac
  RECORD=${2:?the file that names the folder of the cluster}
  shift 2
  if [ "$action" = start ]; then
    if [ -s "$RECORD" ]; then stop; fi  # of a test run that was killed
    start "$@"
    return
  fi
  FOLDER=$(<"$RECORD")
  export SLURM_CONF=$FOLDER/etc/slurm.conf
  case $action in
    stop) stop ;;
    kill-node) kill_node "$1" ;;
    start-node) start_node "$1" ;;
  esac
}

# ---- start

start() {
  local nodes=${1:-2} processors=${2:-8} gpus=${3:-2}
  FOLDER=$(mktemp -d /tmp/cohort_slurm.XXXX)
  mkdir -p "$(dirname -- "$RECORD")"
  printf '%s\n' "$FOLDER" >"$RECORD"
  export SLURM_CONF=$FOLDER/etc/slurm.conf
  chmod 755 "$FOLDER"
  mkdir -p "$FOLDER"/{etc,state,munge,log,dev}
  chmod 700 "$FOLDER/state"
  start_munge
  write_configuration "$nodes" "$processors" "$gpus"
  write_task_prolog
  slurmctld -i -c -f "$SLURM_CONF"
  for node in $(node_names "$nodes"); do start_node "$node"; done
  wait_until_idle "$nodes"
}

node_names() { seq -f 'n%.0f' "$1"; }

start_munge() {
  (umask 077 && head -c 1024 /dev/urandom >"$FOLDER/etc/munge.key")
  munged --key-file="$FOLDER/etc/munge.key" --socket="$FOLDER/munge/socket" --pid-file="$FOLDER/munge/pid" \
    --log-file="$FOLDER/munge/log" --seed-file="$FOLDER/munge/seed" --num-threads=2
}

# Nodes with host names of their own, where this user may have them. Without, the nodes share one name, and then shared
# memory as well, which Open MPI takes for that of one node.
has_own_names() { unshare --uts --mount true 2>/dev/null; }

# The first of as many free ports in a row as asked for.
free_ports() {
  local first port
  for first in $(seq $((20000 + RANDOM % 9000)) 50 32000); do
    for port in $(seq "$first" $((first + $1))); do
      if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue 2; fi
    done
    echo "$first" && return
  done
}

write_configuration() {
  local nodes=$1 processors=$2 gpus=$3 host port memory listen=NoCtldInAddrAny devices="" node number=0
  host=$(hostname -s)
  port=$(free_ports $(($1 + 2)))
  memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
  if has_own_names; then
    # A daemon listens on the address of its host's name: here loopback alone.
    listen+=,NoInAddrAny
    { cat /etc/hosts && for node in $(node_names "$nodes"); do echo "127.0.0.1 $node"; done; } >"$FOLDER/etc/hosts"
  fi
  : >"$FOLDER/etc/plugstack.conf"
  cat >"$SLURM_CONF" <<END
ClusterName=cohort
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
CommunicationParameters=$listen
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$FOLDER/munge/socket,cred_expire=5
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool.%n
TmpFS=$FOLDER/tmp.%n
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmdPidFile=$FOLDER/slurmd.%n.pid
SlurmctldLogFile=$FOLDER/log/slurmctld.log
SlurmdLogFile=$FOLDER/log/slurmd.%n.log
PlugStackConfig=$FOLDER/etc/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog=$FOLDER/etc/task_prolog.sh
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=2
MinJobAge=3600
InactiveLimit=0
SlurmctldTimeout=30
SlurmdTimeout=30
MessageTimeout=10
GresTypes=gpu
END
  [ "$gpus" -eq 0 ] || devices=$(gpu_devices "$gpus")
  for node in $(node_names "$nodes"); do
    number=$((number + 1))
    printf 'NodeName=%s NodeHostname=%s NodeAddr=127.0.0.1 Port=%d CPUs=%d Boards=1 SocketsPerBoard=1 CoresPerSocket=%d ThreadsPerCore=1 RealMemory=%d%s State=UNKNOWN\n' \
      "$node" "$host" $((port + 1 + number)) "$processors" "$processors" "$memory" "${devices:+ Gres=gpu:$gpus}" >>"$SLURM_CONF"
    [ -z "$devices" ] || printf 'NodeName=%s Name=gpu File=%s\n' "$node" "$devices" >>"$FOLDER/etc/gres.conf"
    mkdir -p "$FOLDER/spool.$node"
    mkdir -m 1777 "$FOLDER/tmp.$node"
  done
  cat >>"$SLURM_CONF" <<'END'
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
END
}

# Slurm wants a device file for each GPU: copies of /dev/null, or, where they cannot be made, files that every machine has.
gpu_devices() {
  local number
  for number in $(seq 0 $(($1 - 1))); do
    if ! mknod -m 666 "$FOLDER/dev/gpu$number" c 1 3 2>/dev/null; then
      printf '%s\n' /dev/null /dev/zero /dev/full /dev/random /dev/urandom | head -n "$1" | paste -sd,
      return
    fi
  done
  echo "$FOLDER/dev/gpu[0-$(($1 - 1))]"
}

# Its output joins the environment of every task, unless the job has set the variable itself: Open MPI over loopback, with
# more ranks than cores, as root.
write_task_prolog() {
  local setting
  {
    echo '#!/bin/sh'
    for setting in btl_tcp_if_include=lo oob_tcp_if_include=lo mpi_yield_when_idle=1 hwloc_base_binding_policy=none \
      btl_vader_single_copy_mechanism=none $(has_own_names || echo btl=self,tcp); do
      printf '[ -n "${OMPI_MCA_%s+x}" ] || echo "export OMPI_MCA_%s"\n' "${setting%%=*}" "$setting"
    done
    printf 'echo "export OMPI_ALLOW_RUN_AS_ROOT=1"\necho "export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"\n'
  } >"$FOLDER/etc/task_prolog.sh"
  chmod 755 "$FOLDER/etc/task_prolog.sh"
}

start_node() {
  if has_own_names; then
    unshare --uts --mount --propagation private sh -c \
      'hostname "$1" && mount --bind "$2/etc/hosts" /etc/hosts && exec slurmd -N "$1" -f "$SLURM_CONF"' sh "$1" "$FOLDER"
  else
    slurmd -N "$1" -f "$SLURM_CONF"
  fi
}

wait_until_idle() {
  local idle=0
  for _ in $(seq 300); do
    idle=$(sinfo -h -N -p debug -o %T 2>/dev/null | grep -c '^idle$' || true)
    if [ "$idle" -eq "$1" ]; then return; fi
    sleep 0.1
  done
  sinfo -N -l >&2 || true
  tail -n 20 "$FOLDER"/log/*.log >&2
  stop
  fail 5 "$idle of $1 nodes are idle after 30 s" "read the logs above"
}

# ---- stop

stop() {
  FOLDER=$(<"$RECORD")
  export SLURM_CONF=$FOLDER/etc/slurm.conf
  # Commands wait for minutes for a controller that is gone.
  if timeout 3 scontrol ping 2>/dev/null | grep -q UP; then
    timeout 10 scancel --user="$(id -un)" || true
    for _ in $(seq 100); do
      [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break
      sleep 0.1
    done
  fi
  end_daemons "$FOLDER"/slurmd.*.pid "$FOLDER/slurmctld.pid"
  kill_left_jobs
  end_daemons "$FOLDER/munge/pid"
  rm -rf "$FOLDER" "$RECORD" /dev/shm/vader_segment.n[0-9].*
}

# Ends the processes that these files name, all at once; after 10 s with SIGKILL.
end_daemons() {
  local file pid pids=()
  for file; do
    if [ -s "$file" ] && pid=$(<"$file") && kill -TERM "$pid" 2>/dev/null; then pids+=("$pid"); fi
  done
  for pid in "${pids[@]}"; do
    for _ in $(seq 200); do
      kill -0 "$pid" 2>/dev/null || continue 2
      sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null || true
  done
}

# What a dead controller leaves behind: processes of this cluster's jobs, and the step daemons, which live in its log folder.
kill_left_jobs() {
  local process name
  for process in /proc/[0-9]*; do
    name=$(cat "$process/comm" 2>/dev/null) || continue
    if [ "$name" = slurmstepd ]; then
      [ "$(readlink "$process/cwd" 2>/dev/null)" = "$FOLDER/log" ] || continue
    else
      grep -qzx "SLURM_CONF=$SLURM_CONF" "$process/environ" 2>/dev/null || continue
      grep -qz '^SLURM_JOB_ID=' "$process/environ" 2>/dev/null || continue
    fi
    kill -KILL "${process#/proc/}" 2>/dev/null || true
  done
}

kill_node() {
  local names process
  has_own_names || fail 2 "the nodes share one host name" "kill a node as root"
  names=$(readlink "/proc/$(<"$FOLDER/slurmd.$1.pid")/ns/uts")
  for process in /proc/[0-9]*; do
    if [ "$(readlink "$process/ns/uts" 2>/dev/null)" = "$names" ]; then kill -KILL "${process#/proc/}" 2>/dev/null || true; fi
  done
  rm -f "$FOLDER/slurmd.$1.pid" /dev/shm/vader_segment."$1".*
}

main "$@"
