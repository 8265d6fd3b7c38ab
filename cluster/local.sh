#!/usr/bin/env bash
# A Ray cluster on this machine: a head that runs no task and worker nodes, each with a raylet of its own, to which jobs
# are submitted.
#
#   cluster/local.sh start [NODES [CPUS]]   start it, by default 2 nodes of 1 CPU; prints the address to submit to. GPUs,
#                                           if there are any, belong to the first node
#   cluster/local.sh stop                   stop it, and no other Ray of this machine (without /proc: all of them)
#   cluster/local.sh submit -- python pipelines/train.py ...     a job, with absolute paths
#
# RAY_DASHBOARD_PORT (8265) names it: several can live side by side, some ports apart, for it takes the ports after that
# one too. The dashboard is bound to loopback, and whoever connects must show the token in ~/.ray/auth_token.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ray=${RAY:-$here/.venv/bin/ray}
[ -x "$ray" ] || ray=ray
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_JOB_STOP_WAIT_TIME_S=${RAY_JOB_STOP_WAIT_TIME_S:-120} # in which a run that `ray job stop` ends is saved
PATH=$(dirname "$ray"):$PATH
port=${RAY_DASHBOARD_PORT:-8265}
address=http://127.0.0.1:$port
mark=I2I_LOCAL_CLUSTER=$port # in the environment of every process that comes of it

# Ids of the processes that came of `start`: Ray's own, its workers, its jobs.
ours() {
	local environment
	for environment in /proc/[0-9]*/environ; do
		if grep --quiet --no-messages --null-data --line-regexp --fixed-strings "$mark" "$environment" 2>/dev/null; then
			environment=${environment#/proc/}
			echo "${environment%/environ}"
		fi
	done
}

# Signals them all, and again those that have come since, until none is left or the seconds are over.
end() {
	local signal=$1 until=$((SECONDS + $2)) left
	while left=$(ours) && [ -n "$left" ]; do
		# shellcheck disable=SC2086 # one word for each id
		kill "-$signal" $left 2>/dev/null || true
		[ "$SECONDS" -lt "$until" ] || return 1
		sleep 0.3
	done
}

case "${1:-}" in
start)
	nodes=${2:-2} cpus=${3:-1}
	if [ -n "$(ours)" ]; then
		echo "A cluster that this script started is there already, at $address; \`$0 stop\` stops it." >&2
		exit 1
	fi
	"$ray" get-auth-token --generate >/dev/null
	said=$(mktemp) # a file: what Ray leaves behind would keep a pipe open
	trap 'rm -f "$said"' EXIT
	begin() { # Ray's default is to take workers' ports from one range, where nodes of one machine meet
		env "$mark" "$ray" start "$@" --disable-usage-stats --min-worker-port=0 --max-worker-port=0 \
			--object-store-memory=500000000 >"$said" 2>&1 </dev/null
	}
	failed() {
		end TERM 3 || end KILL 10 || true
		cat "$said" >&2
		echo "Ray did not start: a port from $port on may be taken; RAY_DASHBOARD_PORT names another." >&2
		exit 1
	}
	begin --head --port=$((port + 1)) --num-cpus=0 --num-gpus=0 --include-dashboard=true --dashboard-host=127.0.0.1 \
		--dashboard-port="$port" --dashboard-agent-listen-port=$((port + 2)) || failed
	head=$(sed -n "s/.*ray start --address='\([^']*\)'.*/\1/p" "$said" | head -n 1)
	[ -n "$head" ] || failed
	others=
	for ((node = 1; node <= nodes; node++)); do
		begin --address="$head" --num-cpus="$cpus" ${others:+"$others"} \
			--dashboard-agent-listen-port=$((port + 2 + node)) || failed
		others=--num-gpus=0
	done
	echo "$address"
	;;
stop)
	[ -d /proc/self ] || exec "$ray" stop # where processes do not show their environment: all Ray of this machine
	end TERM 3 || end KILL 10 || {
		echo "Processes that do not end: $(ours | tr '\n' ' ')" >&2
		exit 1
	}
	;;
submit)
	shift
	cd "$here"
	exec "$ray" job submit --address "$address" --working-dir "$here" "$@"
	;;
*)
	sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
	exit 2
	;;
esac
