# Runs a program and reads files of /sys beside it, over and over, until it ends.
# usage: sample.sh LIST OUT SECONDS PROGRAM [ARGUMENT...]
# LIST holds one path a line. OUT gets, for each round, `t UPTIME` and for each path, counted from 0, `NUMBER LINE` a
# line of it; at the end `end UPTIME`. Uptime is in seconds with two decimals, from /proc/uptime.
# POSIX sh alone; a round costs one `sleep`, all else is done by the shell.
list=$1
out=$2
seconds=$3
shift 3
round() {
    read -r up rest </proc/uptime
    echo "t $up"
    number=0
    while read -r path <&4; do
        while IFS= read -r line || [ -n "$line" ]; do
            echo "$number $line"
        done <"$path"
        number=$((number + 1))
    done 4<"$list"
}
(
    while :; do
        round
        # A shell without fractions of a second sleeps a whole one.
        sleep "$seconds" || sleep 1
    done
) >"$out" 2>/dev/null &
sampler=$!
"$@"
code=$?
read -r up rest </proc/uptime
{
    kill -9 "$sampler"
    wait "$sampler"
} 2>/dev/null
# What was being written when the sampler was killed is a line of its own, and incomplete.
printf '\nend %s\n' "$up" >>"$out"
exit "$code"
