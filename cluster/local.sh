#!/usr/bin/env bash
# A Ray cluster on this machine: a head that runs no task and worker nodes, each with a raylet of its own, to which jobs
# are submitted.
#
#   cluster/local.sh start [NODES [CPUS]]   start it, by default 2 nodes of 1 CPU; prints the address to submit to. GPUs,
#                                           if there are any, belong to the first node
#   cluster/local.sh stop                   stop it, and no other Ray of this machine; its folder goes with it
#   cluster/local.sh submit -- python pipelines/train.py ...     run a job, with absolute paths, and print what it prints
#   cluster/local.sh job stop|status|logs ID                     what `ray job` does, on this cluster
#
# RAY_DASHBOARD_PORT (8265) names it: several can live side by side, each with a port and a folder of its own,
# /tmp/i2i-UID-PORT, which only its owner can read. Everything it starts listens on loopback alone, and whoever connects
# must show the token in FOLDER/auth_token; Ray's logs are in FOLDER/ray/session_latest/logs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ray=${RAY:-$here/.venv/bin/ray}
if [ -x "$ray" ]; then PATH=$(cd "$(dirname "$ray")" && pwd):$PATH; fi # its Python is the jobs', too
port=${RAY_DASHBOARD_PORT:-8265}
numbers=("$port")
[ "${1:-}" != start ] || numbers+=("${@:2:2}")
for number in "${numbers[@]}"; do # before a folder is made or removed by such a name
	if ! [[ $number =~ ^[0-9]+$ ]]; then
		echo "found $number; expected numbers: RAY_DASHBOARD_PORT=PORT $0 start [NODES [CPUS]]" >&2
		exit 2
	fi
done
address=http://127.0.0.1:$port
mark=I2I_LOCAL_CLUSTER=$port # in the environment of every process that comes of it
# A short name: a path to a socket has at most 107 bytes (103 on macOS), of which Ray takes 70.
folder=/tmp/i2i-$(id -u)-$port
unset RAY_ADDRESS RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$folder/auth_token RAY_USAGE_STATS_ENABLED=0
export RAY_JOB_STOP_WAIT_TIME_S=${RAY_JOB_STOP_WAIT_TIME_S:-120} # in which a run that `ray job stop` ends is saved

# Ids of the processes that came of `start`: Ray's own, its workers, its jobs.
ours() {
	local environment mark=${1:-$mark} folder=${2:-$folder}
	if [ ! -d /proc/self ]; then # where ps shows the environment of a process, or at least Ray's folder
		ps -A -E -ww -o pid=,command= |
			awk -v mark=" $mark " -v folder="$folder/" '!/awk/ && (index($0, mark) || index($0, folder)) { print $1 }'
		return
	fi
	for environment in /proc/[0-9]*/environ; do
		if grep --quiet --no-messages --null-data --line-regexp --fixed-strings "$mark" "$environment" 2>/dev/null; then
			environment=${environment#/proc/}
			echo "${environment%/environ}"
		fi
	done
}

# Those ids, asked for twice where there are none: what was being started while one list was made is on the next.
left_of_ours() {
	local left
	left=$(ours)
	echo "${left:-$(ours)}"
}

# Signals them all, and again those that have come since, until none is left or the seconds are over.
end() {
	local signal=$1 until=$((SECONDS + $2)) left
	while left=$(left_of_ours) && [ -n "$left" ]; do
		# shellcheck disable=SC2086 # one word for each id
		kill "-$signal" $left 2>/dev/null || true
		[ "$SECONDS" -lt "$until" ] || return 1
		sleep 0.3
	done
}

# Removes the folder of a cluster that has ended; refuses one that another user has put there.
clear_folder() {
	if [ -e "$folder" ] || [ -L "$folder" ]; then
		if [ -L "$folder" ] || [ ! -d "$folder" ] || [ ! -O "$folder" ]; then
			echo "$folder is not a folder of this user; RAY_DASHBOARD_PORT names another cluster." >&2
			exit 1
		fi
		rm -rf "$folder"
	fi
}

# Removes the folders of this user's clusters at other ports that were killed: older than a day, and no process is left.
sweep() {
	local left
	for left in "/tmp/i2i-$(id -u)-"*; do
		[[ ${left##*-} =~ ^[0-9]+$ && $left = "/tmp/i2i-$(id -u)-${left##*-}" ]] || continue
		[ -n "$(find "$left" -maxdepth 0 -type d -user "$(id -u)" -mtime +0)" ] || continue
		[ -n "$(ours "I2I_LOCAL_CLUSTER=${left##*-}" "$left")" ] || rm -rf "$left"
	done
}

# The folder and its token, which must never have been open to others, whatever the umask is.
make_folder() (
	umask 077
	mkdir "$folder"
	python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$RAY_AUTH_TOKEN_PATH"
)

case "${1:-}" in
start)
	nodes=${2:-2} cpus=${3:-1}
	if [ -n "$(ours)" ]; then
		echo "A cluster that this script started is there already, at $address; \`$0 stop\` stops it." >&2
		exit 1
	fi
	clear_folder
	sweep
	make_folder
	loopback=lo
	[ "$(uname)" != Darwin ] || loopback=lo0
	# Every process of the cluster has these: where Ray keeps its files and finds this cluster's address; what asks the
	# State API asks this cluster; Ray, as it does on Windows and macOS, takes loopback for the machine's address; so do
	# the workers of a run.
	env "$mark" RAY_TMPDIR="$folder" RAY_API_SERVER_ADDRESS="$address" RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 \
		GLOO_SOCKET_IFNAME="$loopback" NCCL_SOCKET_IFNAME="$loopback" \
		python "$here/cluster/local_nodes.py" "$port" "$nodes" "$cpus" >"$folder/start.log" 2>&1 </dev/null || {
		end TERM 3 || end KILL 60 || true
		cat "$folder/start.log" >&2
		echo "Ray did not start; its logs are in $folder until it is tried again." >&2
		exit 1
	}
	echo "$address"
	;;
stop)
	if ! end TERM 3 && ! end KILL 60; then # a busy machine needs long to end them all
		left=$(left_of_ours)
		if [ -n "$left" ]; then
			echo "Processes that do not end: $(tr '\n' ' ' <<<"$left")" >&2
			echo "\`$0 stop\` tries again." >&2
			exit 1
		fi
	fi
	clear_folder
	;;
submit | job)
	if [ ! -O "$RAY_AUTH_TOKEN_PATH" ]; then
		echo "There is no cluster at $address; \`$0 start\` starts one, RAY_DASHBOARD_PORT names another." >&2
		exit 1
	fi
	cd "$here"
	if [ "$1" = job ]; then
		exec ray job "${2:---help}" --address "$address" "${@:3}"
	elif [ "${2:-}" = -- ]; then
		exec python "$here/cluster/local_job.py" "$address" "$here" "${@:3}"
	fi
	exec ray job submit --address "$address" --working-dir "$here" "${@:2}"
	;;
*)
	sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
	exit 2
	;;
esac
