# What a reader does by hand, for the blocks of the pages; each page's script sources this.
#
# Who is told to start a server in the foreground does that in another terminal, ends the one that is there on the
# same port, and waits until the new one says that it is ready.
set -Eeuo pipefail
BLOCK=none
trap 'echo "FAILED $BLOCK: $BASH_COMMAND"' ERR

# An answer that is an error ends the walk.
curl() { command curl --fail-with-body --max-time 60 "$@"; }

# The reader is root already; -u NAME runs a command of this machine as that user.
sudo() {
  if [[ $1 == -u ]]; then
    local user=$2
    shift 2
    (cd / && runuser -u "$user" -- "$@")
  else
    "$@"
  fi
}

# What systemd would start, as the unit says; there is no systemd in a chroot.
systemctl() {
  local unit=/etc/systemd/system/${!#}.service
  case $1 in
    daemon-reload) ;;
    enable | start | restart)
      systemd-analyze verify "$unit"
      local user command
      user=$(sed -n 's/^User=//p' "$unit")
      command=$(sed -n 's/^ExecStart=//p' "$unit")
      serving runuser -u "$user" -- bash -c "cd / && exec $command"
      ;;
    disable | stop) ended 8080 ;;
    *)
      echo "systemctl $*"
      return 1
      ;;
  esac
}

listeners() { ss -Hltn | awk '{print $4}' | sort -u; }

# port: end the server that was started at it, if there is one
ended() {
  local file=/run/docs-server-$1
  [[ -f $file ]] || return 0
  # The whole session: runuser and make do not pass signals on.
  local session
  session=$(cat "$file")
  kill -TERM $(ps -o pid= -s "$session") 2>/dev/null || return 0
  while ps -o pid= -s "$session" >/dev/null; do sleep 0.05; done
}

# program argument...: in the background, until a new port answers
serving() {
  local port=${SEAWALL_HTTP__PORT:-8080}
  [[ " $* " =~ \ --port[\ =]([0-9]+) ]] && port=${BASH_REMATCH[1]}
  ended "$port"
  local before log pid address code scheme
  before=$(listeners)
  log=$(mktemp /run/docs-log-XXXX)
  if [[ $1 == seawall ]]; then
    # As a command, from the process that has everything imported; it writes its session's id.
    python3 -IS "$DOCS_WARM" --session "/run/docs-server-$port" /run/warm "${@:2}" </dev/null >>"$log" 2>&1 &
    pid=$!
  else
    setsid "$@" </dev/null >>"$log" 2>&1 &
    pid=$!
    echo $pid >"/run/docs-server-$port"
  fi
  for _ in $(seq 2400); do
    address=$(comm -13 <(echo "$before") <(listeners) | head -1)
    if [[ -n $address ]]; then
      address=${address/0.0.0.0/127.0.0.1}
      for scheme in http https; do
        code=$(command curl -ksS -o /dev/null -w '%{http_code}' "$scheme://$address/readyz" 2>/dev/null) || true
        case $code in 200 | 404) return ;; esac
      done
    fi
    kill -0 $pid 2>/dev/null || break
    sleep 0.1
  done
  cat "$log"
  echo "FAILED $BLOCK: not ready: $*"
  return 1
}

seawall() {
  case "${1:-} ${2:-}" in
    "serve "* | "jobservice "* | "dr witness") serving seawall "$@" ;;
    *) python3 -IS "$DOCS_WARM" /run/warm "$@" ;;
  esac
}

make() {
  if [[ $1 == serve ]]; then serving make "$@"; else command make "$@"; fi
}
