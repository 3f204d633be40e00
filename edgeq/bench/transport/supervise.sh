# Runs one program so that nothing of it outlives the connection it was started through.
# usage: supervise.sh SECONDS TOKEN PROGRAM [ARGUMENT...]
# POSIX sh alone, as boards have little more.
# The program runs in this script's folder and, where `setsid` is there, in a process group of its own, which is killed
# as a whole when standard input ends (the connection was closed or broke), after SECONDS, and on a signal. The last
# line on standard error is TOKEN and the exit status: without it the connection broke.
seconds=$1
token=$2
shift 2
cd "${0%/*}" || exit 126
exec 3<&0 </dev/null
own_group=
command -v setsid >/dev/null 2>&1 && own_group=setsid
end() {
    # What has no group yet, or never gets one, is a process alone.
    kill -9 "-$1" 2>/dev/null || kill -9 "$1" 2>/dev/null
}
$own_group "$@" 3<&- &
child=$!
trap 'end $child' HUP INT TERM
(
    read -r line <&3
    end "$child"
) >/dev/null 2>&1 &
watcher=$!
# No trap here: dash may miss a signal that comes just before `wait`.
$own_group sh -c 'sleep "$1"; kill -9 "-$2" || kill -9 "$2"' timer "$seconds" "$child" >/dev/null 2>&1 3<&- &
timer=$!
{
    wait "$child"
    code=$?
    # A signal to this script interrupts `wait`; the program's own status comes from waiting again.
    if kill -0 "$child"; then
        wait "$child"
        code=$?
    fi
    kill -9 "-$child"
    kill -9 "$watcher"
    end "$timer"
    wait "$watcher" "$timer"
} 2>/dev/null
printf '\n%s %s\n' "$token" "$code" >&2
exit "$code"
