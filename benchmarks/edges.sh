#!/bin/sh
# Decision 3, measured: the same relay behind three edges, one after the other, several rounds, one core.
#   benchmarks/edges.sh PYTHON [ROUNDS]        PYTHON: an interpreter with tallygate[server] and granian
set -eu
cd "$(dirname "$0")"
python=$1
rounds=${2:-3}
work=$(mktemp -d)
trap 'kill $mock 2>/dev/null; rm -rf "$work"' EXIT
cc -O2 -w -o "$work/mock" mock.c
cc -O2 -w -o "$work/load" load.c
"$python" - "$work" <<'PY'
import json, sys
text = ("lorem ipsum dolor sit amet " * 80)[:2000]
body = {"model": "test-model", "max_tokens": 256, "messages": [
    {"role": "system", "content": "You are helpful."}, {"role": "user", "content": text}]}
json.dump(body, open(sys.argv[1] + "/json", "w"))
json.dump({**body, "stream": True}, open(sys.argv[1] + "/stream", "w"))
PY
taskset -c 1 "$work/mock" 19100 64 0 &
mock=$!
measure() { # name, connections, seconds, rate, body
    result=$(taskset -c 1 "$work/load" 18100 "$2" "$3" "$4" "$work/$5" /v1/chat/completions "" "$(cat "$work/key")")
    "$python" -c 'import json, sys
r = json.loads(sys.argv[2]); l = r["lat"]
print("%-32s %8.0f/s   p50 %6d us   p99 %6d us   errors %d, not 200: %d" % (sys.argv[1], r["rps"], l["p50"], l["p99"], r["errs"], r["non200"]))' "$1" "$result"
}
for _ in $(seq "$rounds"); do
    for edge in uvicorn granian-asgi granian-rsgi; do
        rm -f "$work/key"
        taskset -c 0 "$python" edges.py "$edge" 18100 http://127.0.0.1:19100/v1 "$work/key" &
        gateway=$!
        until [ -s "$work/key" ]; do sleep 0.1; done
        sleep 1
        measure "$edge, JSON, 64 connections" 64 3 0 json
        measure "$edge, JSON, 300/s" 64 2 300 json
        measure "$edge, streams, 32 connections" 32 3 0 stream
        kill "$gateway"
        wait "$gateway" 2>/dev/null || true
    done
done
