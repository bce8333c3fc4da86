# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
# shellcheck shell=bash
# Suites beside each other, and what they count. A lane is a function of which the suites run one after the
# other, in a process of its own; what a suite says is shown when it ends, in one piece.

lanes=()
results=
child=

# begin_results: before the first lane.
begin_results() {
	results=$(mktemp -d)
	: >"$results/counts"
	trap end_lanes EXIT
}

# What an early end leaves. INT is what pytest tears its fixtures down for, and scripts as well.
end_lanes() {
	[ ${#lanes[@]} = 0 ] || kill -TERM "${lanes[@]}" 2>/dev/null
	wait
	rm -rf "$results"
}

end_lane() {
	if [ -n "$child" ]; then
		kill -INT "$child" 2>/dev/null
		wait "$child"
	fi
	exit 143
}

# lane FUNCTION WORD...
lane() {
	(
		trap - EXIT
		trap end_lane TERM
		"$@"
	) &
	lanes+=($!)
}

# wait_lanes: all that have begun. One that ends early has left its suites undone.
wait_lanes() {
	local pid
	for pid in "${lanes[@]}"; do
		wait "$pid" || count "a lane that ended early" 0 1 0
	done
	lanes=()
}

# run COMMAND...: in a lane. bash has what runs in the background ignore INT, and what that starts would, too. A
# terminal's INT is not for it: it would be a second one, in the midst of what the first had it take down.
run() {
	local status=0
	setsid env --default-signal=INT "$@" &
	child=$!
	wait "$child" || status=$?
	child=
	return $status
}

# count NAME PASSED FAILED SKIPPED
count() {
	echo "$2 $3 $4 $1" >>"$results/counts"
	say "$1: $2 passed, $3 failed, $4 skipped"
}

# count_junit NAME FILE EXIT: the cases of a JUnit file; a run that died without one is a failure.
count_junit() {
	local numbers
	numbers=$(python3 scripts/junit-count "$2" 2>/dev/null) || numbers="0 1 0"
	# shellcheck disable=SC2086
	set -- "$1" "$3" $numbers
	if [ "$2" != 0 ] && [ "$4" = 0 ]; then
		set -- "$1" "$2" "$3" 1 "$5"
	fi
	count "$1" "$3" "$4" "$5"
}

# one NAME COMMAND...: a test that is one command.
one() {
	local name=$1 log status=0
	shift
	log=$(mktemp -p "$results")
	run "$@" >"$log" 2>&1 || status=$?
	{
		flock 9
		[ $status = 0 ] || cat "$log"
		count "$name" $((status == 0)) $((status != 0)) 0
	} 9>"$results/shown"
}

# run_meson_tests NAME BUILD: with limits of time for who comes after all others.
run_meson_tests() {
	local name=$1 build=$2 status=0
	run meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier 20 >"$build/test.log" 2>&1 || status=$?
	{
		flock 9
		[ $status = 0 ] || tail -150 "$build/test.log"
		count_junit "$name" "$build/meson-logs/testlog.junit.xml" $status
	} 9>"$results/shown"
}

run_pytest() { # NAME ENGINE WORD...
	local name=$1 engine=$2 report log status=0
	shift 2
	report=$(mktemp -p "$results")
	log=$(mktemp -p "$results")
	run env "SLUICE_ENGINE=$engine" "SLUICE_BUILD=$TOP/build" PYTHONDONTWRITEBYTECODE=1 \
		/usr/bin/python3 -m pytest -p no:cacheprovider -q --tb=short --junitxml="$report" "$@" >"$log" 2>&1 || status=$?
	{
		flock 9
		tail -80 "$log"
		count_junit "$name" "$report" $status
	} 9>"$results/shown"
}

# sum_up: the last lines, and whether nothing failed.
sum_up() {
	local passed failed skipped skips
	read -r passed failed skipped < <(awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$results/counts")
	skips=$(awk '$3 > 0 { n = $3; sub(/^[0-9]+ [0-9]+ [0-9]+ /, ""); printf " %s: %d", $0, n }' "$results/counts")
	if [ "$skipped" -gt 0 ]; then
		say "SKIPPED, and so not shown:$skips"
		echo "$passed passed, $failed failed, $skipped skipped"
	else
		echo "$passed passed, $failed failed"
	fi
	[ "$failed" = 0 ]
}
