#!/usr/bin/env bash
# A Ray cluster on this machine: a head and worker processes on it, to which jobs are submitted.
#
#   cluster/local.sh start [CPUS]   start; prints the address to submit to
#   cluster/local.sh stop           stop it
#   cluster/local.sh submit -- python pipelines/train.py ...     a job, with absolute paths
#
# The dashboard is bound to loopback, and whoever connects must show the token in ~/.ray/auth_token.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ray=${RAY:-$here/.venv/bin/ray}
[ -x "$ray" ] || ray=ray
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export PATH="$(dirname "$ray"):$PATH"
port=${RAY_DASHBOARD_PORT:-8265}
address=http://127.0.0.1:$port

case "${1:-}" in
start)
	"$ray" get-auth-token --generate >/dev/null
	"$ray" start --head --include-dashboard=true --dashboard-host=127.0.0.1 \
		--dashboard-port="$port" ${2:+--num-cpus="$2"} --disable-usage-stats >/dev/null || {
		echo "Ray did not start: another cluster may hold port 6379 or $port, or a failed start left one behind." >&2
		echo "\`$0 stop\` stops every Ray process of yours on this machine; RAY_DASHBOARD_PORT names another port." >&2
		exit 1
	}
	echo "$address"
	;;
stop)
	"$ray" stop >/dev/null
	;;
submit)
	shift
	cd "$here"
	exec "$ray" job submit --address "$address" --working-dir "$here" "$@"
	;;
*)
	sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
	exit 2
	;;
esac
